package overlay

import (
	"net/netip"
	"testing"

	"fairway/bridge"
	"fairway/store"
)

// What takes effect can be given, and means the same.
func TestValues(t *testing.T) {
	host := Host{Instance: "i", Bridge: func(n store.Network) (Bridge, error) { return bridge.New("i", n) }}
	host.Local = netip.MustParseAddr("192.0.2.1")
	n := store.Network{
		ID: "n", Mode: "overlay", IPv4: true, MTU: 1450, Options: map[string]string{"segment": "s", "publish": "loopback"},
		Overlay: store.Overlay{Segment: "s", VNI: FirstVNI, Port: 4789},
	}
	v, err := New(host, n)
	if err != nil {
		t.Fatal(err)
	}
	got := v.Values()
	o, err := ParseOptions(got)
	if err != nil {
		t.Fatalf("%v: %v", got, err)
	}
	if o.Segment != "s" || o.VNI != FirstVNI || o.MTU != 1450 || o.Port != 4789 || o.Bridge["publish"] != "loopback" {
		t.Errorf("%+v", o)
	}
}
