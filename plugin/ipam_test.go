package plugin

import (
	"errors"
	"net/netip"
	"testing"

	"fairway/ipam"

	"github.com/google/go-cmp/cmp"
)

func TestAddressCalls(t *testing.T) {
	tests := []struct {
		name, method, body string
		fake               *fake
		call, reply        string
	}{
		{
			name: "capabilities", method: "GetCapabilities",
			reply: `{"RequiresMACAddress":true,"RequiresRequestReplay":false}`,
		},
		{
			name: "spaces", method: "GetDefaultAddressSpaces",
			reply: `{"LocalDefaultAddressSpace":"fairway-local","GlobalDefaultAddressSpace":"fairway-global"}`,
		},
		{
			name: "pool", method: "RequestPool",
			body:  `{"AddressSpace":"fairway-local","Pool":"10.1.0.0/16","SubPool":"10.1.5.0/24","Options":{"shared":"true"},"V6":false}`,
			fake:  &fake{pool: ipam.PoolReply{ID: "p1", Prefix: netip.MustParsePrefix("10.1.0.0/16")}},
			call:  `RequestPool {Engine: Space:fairway-local Pool:10.1.0.0/16 SubPool:10.1.5.0/24 Options:map[shared:true] V6:false}`,
			reply: `{"PoolID":"p1","Pool":"10.1.0.0/16","Data":{}}`,
		},
		{
			name: "any IPv6 pool", method: "RequestPool", body: `{"AddressSpace":"fairway-local","Pool":"","SubPool":"","Options":null,"V6":true}`,
			fake:  &fake{pool: ipam.PoolReply{ID: "p2", Prefix: netip.MustParsePrefix("fd00:1::/64")}},
			call:  `RequestPool {Engine: Space:fairway-local Pool: SubPool: Options:map[] V6:true}`,
			reply: `{"PoolID":"p2","Pool":"fd00:1::/64","Data":{}}`,
		},
		{
			name: "pool refused", method: "RequestPool", body: `{"AddressSpace":"fairway-local","Pool":"10.1.0.0/16"}`,
			fake:  &fake{err: errors.New("pool 10.1.0.0/16 overlaps 10.1.2.0/24 on eth0")},
			call:  `RequestPool {Engine: Space:fairway-local Pool:10.1.0.0/16 SubPool: Options:map[] V6:false}`,
			reply: `{"Error":"pool 10.1.0.0/16 overlaps 10.1.2.0/24 on eth0"}`,
		},
		{name: "release pool", method: "ReleasePool", body: `{"PoolID":"p1"}`, call: `ReleasePool p1`, reply: `{}`},
		{
			name: "gateway", method: "RequestAddress",
			body:  `{"PoolID":"p1","Address":"10.1.0.1","Options":{"RequestAddressType":"com.docker.network.gateway"}}`,
			fake:  &fake{address: netip.MustParsePrefix("10.1.0.1/16")},
			call:  `RequestAddress {Engine: Pool:p1 Address:10.1.0.1 Gateway:true Name: MAC:}`,
			reply: `{"Address":"10.1.0.1/16","Data":{}}`,
		},
		{
			name: "aux address", method: "RequestAddress", body: `{"PoolID":"p1","Address":"10.1.0.9","Options":null}`,
			fake:  &fake{address: netip.MustParsePrefix("10.1.0.9/16")},
			call:  `RequestAddress {Engine: Pool:p1 Address:10.1.0.9 Gateway:false Name: MAC:}`,
			reply: `{"Address":"10.1.0.9/16","Data":{}}`,
		},
		{
			name: "29 tells the name", method: "RequestAddress",
			body:  `{"PoolID":"p1","Address":"","Options":{"com.docker.network.endpoint.name":"web","com.docker.network.endpoint.macaddress":"02:42:AC:11:00:02"}}`,
			fake:  &fake{address: netip.MustParsePrefix("10.1.0.2/16")},
			call:  `RequestAddress {Engine: Pool:p1 Address:invalid IP Gateway:false Name:web MAC:02:42:ac:11:00:02}`,
			reply: `{"Address":"10.1.0.2/16","Data":{}}`,
		},
		{
			name: "a name with an escape is none", method: "RequestAddress",
			body:  `{"PoolID":"p1","Options":{"com.docker.network.endpoint.name":"we\u001bb"}}`,
			fake:  &fake{address: netip.MustParsePrefix("10.1.0.2/16")},
			call:  `RequestAddress {Engine: Pool:p1 Address:invalid IP Gateway:false Name: MAC:}`,
			reply: `{"Address":"10.1.0.2/16","Data":{}}`,
		},
		{
			name: "release", method: "ReleaseAddress", body: `{"PoolID":"p1","Address":"10.1.0.2"}`,
			call: `ReleaseAddress p1 10.1.0.2`, reply: `{}`,
		},
		{
			name: "release, with a length", method: "ReleaseAddress", body: `{"PoolID":"p1","Address":"fd00::2/64"}`,
			call: `ReleaseAddress p1 fd00::2`, reply: `{}`,
		},
		{
			name: "release nothing", method: "ReleaseAddress", body: `{"PoolID":"p1","Address":""}`,
			reply: `{"Error":"malformed request: Address: want an IP address"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.fake
			if f == nil {
				f = &fake{}
			}
			status, reply := post(t, newTestServer(f, nil), "/IpamDriver."+tt.method, tt.body)
			var want []string
			if tt.call != "" {
				want = []string{tt.call}
			}
			if d := cmp.Diff(want, f.taken()); d != "" {
				t.Errorf("calls (-want +got):\n%s", d)
			}
			if status != 200 || reply != tt.reply {
				t.Errorf("reply %d %s\nwant  200 %s", status, reply, tt.reply)
			}
		})
	}
}

// TestWithoutMAC: under its second name fairway is an IPAM driver alone, which
// wants no MAC addresses and has an address space of its own.
func TestWithoutMAC(t *testing.T) {
	s := newTestServer(&fake{}, func(o *Options) { o.WithoutMAC = true })
	for method, want := range map[string]string{
		"/Plugin.Activate":                    `{"Implements":["IpamDriver"]}`,
		"/IpamDriver.GetCapabilities":         `{"RequiresMACAddress":false,"RequiresRequestReplay":false}`,
		"/IpamDriver.GetDefaultAddressSpaces": `{"LocalDefaultAddressSpace":"fairway-ipvlan","GlobalDefaultAddressSpace":"fairway-ipvlan"}`,
	} {
		if status, reply := post(t, s, method, ""); status != 200 || reply != want {
			t.Errorf("%s: %d %s, want %s", method, status, reply, want)
		}
	}
}
