package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"fairway/cluster"
)

// A clusterConfig is what the daemon is told of the cluster that it is in.
type clusterConfig struct {
	Endpoints string // URLs of etcd, separated by commas; "" no cluster
	Name      string
	Host      string // "" the machine's name
	Advertise string // an address, or "" to find it by the way to etcd
	CA        string
	Cert      string
	Key       string
	User      string
	Password  string // path of the file that it is in
	Clear     bool
}

func (c *clusterConfig) flags(fs *pflag.FlagSet) {
	*c = clusterConfig{Name: "default"}
	fs.Var(&urlsValue{&c.Endpoints}, "cluster", "`URLS` of the etcd that the hosts of overlay networks agree by, separated by commas; \"\": none")
	fs.Var(&nameValue{p: &c.Name}, "cluster-name", "`name` that all hosts of the cluster have in common: the etcd's keys are below /fairway/NAME/")
	fs.Var(&nameValue{p: &c.Host, empty: true}, "host-name", "`name` of this host in the cluster; \"\": the machine's")
	fs.Var(&unicastValue{&c.Advertise}, "advertise-address", "`IP` of this host that the others send overlay packets to; \"\": that which it has towards etcd")
	fs.Var(&pathValue{p: &c.CA, empty: true}, "cluster-ca", "`file` with the certificates of who may sign etcd's; \"\": the system's")
	fs.Var(&pathValue{p: &c.Cert, empty: true}, "cluster-cert", "`file` with this host's certificate for etcd")
	fs.Var(&pathValue{p: &c.Key, empty: true}, "cluster-key", "`file` with the certificate's key")
	fs.Var(&plainValue{&c.User}, "cluster-user", "`name` of the user for etcd's own authentication; \"\": none")
	fs.Var(&pathValue{p: &c.Password, empty: true}, "cluster-password-file", "`file` with that user's password")
	fs.Var(&boolValue{&c.Clear}, "cluster-insecure", "allow http:// to an etcd that isn't on this host: anybody on the way can change what hosts agree on")
	fs.Lookup("cluster-insecure").NoOptDefVal = "true"
}

type (
	urlsValue struct{ p *string }
	nameValue struct {
		p     *string
		empty bool // "" is allowed
	}
	unicastValue struct{ p *string }
	plainValue   struct{ p *string }
)

// Set checks the form. Whether http:// is allowed is another setting's to say.
func (v *urlsValue) Set(s string) error {
	if s != "" {
		if _, err := cluster.ParseEndpoints(s, true); err != nil {
			return err
		}
	}
	*v.p = s
	return nil
}

func (v *urlsValue) String() string { return *v.p }
func (v *urlsValue) Type() string   { return "URLs" }

func (v *nameValue) Set(s string) error {
	if s != "" || !v.empty {
		if cluster.CheckName(s) != nil {
			return errors.New("want at most 63 letters, digits, - _ . and a letter or digit first")
		}
	}
	*v.p = s
	return nil
}

func (v *nameValue) String() string { return *v.p }
func (v *nameValue) Type() string   { return "name" }

func (v *unicastValue) Set(s string) error {
	if s != "" {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Is4In6() || a.Zone() != "" || a.IsMulticast() || a.IsUnspecified() || a.IsLinkLocalUnicast() {
			return errors.New("want an IP address of this host, without a port")
		}
	}
	*v.p = s
	return nil
}

func (v *unicastValue) String() string { return *v.p }
func (v *unicastValue) Type() string   { return "address" }

func (v *plainValue) Set(s string) error { *v.p = s; return nil }
func (v *plainValue) String() string     { return *v.p }
func (v *plainValue) Type() string       { return "name" }

// dialOptions are how etcd is reached.
func (c clusterConfig) dialOptions() (o cluster.DialOptions, err error) {
	o = cluster.DialOptions{CA: c.CA, Cert: c.Cert, Key: c.Key, User: c.User, Clear: c.Clear}
	if o.Endpoints, err = cluster.ParseEndpoints(c.Endpoints, c.Clear); err != nil {
		return o, fmt.Errorf("setting cluster=%w (or cluster-insecure)", err)
	}
	if (c.Cert == "") != (c.Key == "") {
		return o, errors.New("settings cluster-cert, cluster-key: want both or none")
	}
	if (c.User == "") != (c.Password == "") {
		return o, errors.New("settings cluster-user, cluster-password-file: want both or none")
	}
	if c.Password != "" {
		text, err := os.ReadFile(c.Password)
		if err != nil {
			return o, fmt.Errorf("setting cluster-password-file: %w", err)
		}
		o.Password = strings.TrimRight(string(text), "\r\n")
	}
	return o, nil
}

// hostName is this host's name in the cluster.
func (c clusterConfig) hostName() (string, error) {
	if c.Host != "" {
		return c.Host, nil
	}
	name, err := os.Hostname()
	if err == nil {
		err = cluster.CheckName(name)
	}
	if err != nil {
		return "", fmt.Errorf("setting host-name: %w", err)
	}
	return name, nil
}

// local is this host's address on the underlay: the one that is set, or that which
// it has towards the first etcd. It is invalid where there is no cluster.
func (c clusterConfig) local() netip.Addr {
	a, err := c.advertise()
	if err != nil {
		return netip.Addr{}
	}
	return a
}

func (c clusterConfig) advertise() (netip.Addr, error) {
	if c.Endpoints == "" {
		return netip.Addr{}, errors.New("setting cluster: none")
	}
	if c.Advertise != "" {
		return netip.ParseAddr(c.Advertise)
	}
	first, _, _ := strings.Cut(c.Endpoints, ",")
	u, err := url.Parse(strings.TrimSpace(first))
	if err != nil {
		return netip.Addr{}, err
	}
	conn, err := net.Dial("udp", u.Host) // sends nothing
	if err != nil {
		return netip.Addr{}, fmt.Errorf("setting advertise-address: not set, and no way to etcd: %w", err)
	}
	defer conn.Close()
	a := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	if a.IsLoopback() {
		return netip.Addr{}, fmt.Errorf("setting advertise-address: want an address of this host that the others reach: etcd is on this host")
	}
	return a, nil
}

// underlayMTU is the MTU of the link that has an address, in bytes; 1500 if none
// has it yet.
func underlayMTU(local netip.Addr) int {
	if mtu, ok := linkMTU(local); ok {
		return mtu
	}
	return 1500
}

// linkMTU is likewise; false if no link has the address.
func linkMTU(local netip.Addr) (mtu int, ok bool) {
	links, err := net.Interfaces()
	if err != nil {
		return 0, false
	}
	for _, l := range links {
		addresses, err := l.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if p, ok := a.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(p.IP); ok && ip.Unmap() == local {
					return l.MTU, true
				}
			}
		}
	}
	return 0, false
}
