package main

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"

	"fairway/nat"
	"fairway/nat/unroutable"
)

// defaultAdminSocket is where the daemon listens for operators, and where
// their commands look for it.
const defaultAdminSocket = "/run/fairway/admin.sock"

// A config is what the daemon is told by flags, environment and file. Each
// setting is a flag; see settings.go for where else it may come from.
type config struct {
	Socket       string // Docker's plugin protocol
	AdminSocket  string // the operators' API
	StateDir     string
	Firewall     string // "auto", "nftables" or "iptables"
	MarkMask     uint32 // the bits of packets' marks that are ours
	RulePriority int    // of the first of our policy-routing rules, and of the first of their two tables
	IPForward    bool   // turn forwarding on where it is off
	DockerSocket string // "" leaves Docker's API alone
	LogLevel     string // a level of logrus
	LogFormat    string // "text" or "json"
	// ReplacePlugin also serves the name that a managed plugin has in Docker.
	ReplacePlugin bool
	DefaultPools  []addressPool
	// MetricsAddress is where Prometheus reads, IP:PORT; "" nowhere.
	MetricsAddress   string
	MetricsEndpoints bool // each container has series of its own
	Cluster          clusterConfig
}

// An addressPool is what IPAM takes subnets from when none is asked for.
type addressPool struct {
	Base netip.Prefix // masked
	Size int          // prefix length of each subnet
}

// flags declares the settings, and their defaults, in fs.
func (c *config) flags(fs *pflag.FlagSet) {
	*c = config{
		Socket: "/run/docker/plugins/fairway.sock", AdminSocket: defaultAdminSocket,
		StateDir: "/var/lib/fairway", Firewall: "auto", IPForward: true,
		MarkMask: nat.DefaultMask, RulePriority: unroutable.DefaultPriority,
		DockerSocket: "/var/run/docker.sock", LogLevel: "info", LogFormat: "text",
	}
	fs.SortFlags = false
	fs.Var(&pathValue{p: &c.Socket, most: maxSocketPath}, "socket", "`path` of the socket for Docker")
	fs.Var(&pathValue{p: &c.AdminSocket, most: maxSocketPath}, "admin-socket", "`path` of the socket for the other commands")
	fs.Var(&pathValue{p: &c.StateDir}, "state-dir", "`directory` of the durable records")
	fs.Var(&choice{p: &c.Firewall, allowed: []string{"auto", "nftables", "iptables"}}, "firewall",
		"who filters and translates: auto (nftables where the kernel has it), nftables or iptables")
	fs.Var(&maskValue{&c.MarkMask}, "mark-mask", "`bits` of packets' marks, at least two, that say where they may be routed; nobody else may use them")
	fs.Var(&priorityValue{&c.RulePriority}, "rule-priority",
		"priority `N` of the first of the policy-routing rules that look at them, and the number of the first of their two tables")
	fs.Var(&boolValue{&c.IPForward}, "ip-forward", "turn IP forwarding on where it is off")
	fs.Lookup("ip-forward").NoOptDefVal = "true"
	fs.Var(&pathValue{p: &c.DockerSocket, most: maxSocketPath, empty: true}, "docker-socket",
		"`path` of Docker's API, for containers' names and forgotten endpoints; \"\": do without")
	fs.Var(&poolsValue{p: &c.DefaultPools}, "default-address-pool",
		"`base=CIDR,size=N`: take subnets of length N from here when none is asked for (repeatable)")
	fs.Var(&boolValue{&c.ReplacePlugin}, "replace-plugin",
		"also serve the networks that the managed plugin fairway:latest made; it must be removed")
	fs.Lookup("replace-plugin").NoOptDefVal = "true"
	fs.Var(&listenValue{&c.MetricsAddress}, "metrics-address", "`IP:PORT` where Prometheus reads metrics, without a password; \"\": nowhere")
	fs.Var(&boolValue{&c.MetricsEndpoints}, "metrics-endpoints", "metrics of each container, not just of each network")
	fs.Lookup("metrics-endpoints").NoOptDefVal = "true"
	c.Cluster.flags(fs)
	fs.Var(&choice{p: &c.LogLevel, allowed: logLevels()}, "log-level", "least `level` that is logged: error, warning, info, debug or trace")
	fs.Var(&choice{p: &c.LogFormat, allowed: []string{"text", "json"}}, "log-format", "text or json")
}

// replacedSocket is where Docker looks for a service that has the name of a
// managed plugin: beside the socket that has fairway's own name.
func (c config) replacedSocket() string {
	dir, _ := filepath.Split(c.Socket)
	return dir + "fairway:latest.sock"
}

// ipvlanSocket is where Docker looks for the IPAM driver of ipvlan networks: the
// one that has fairway's own name, with -ipvlan after it.
func (c config) ipvlanSocket() string {
	return strings.TrimSuffix(c.Socket, ".sock") + "-ipvlan.sock"
}

func logLevels() []string {
	var names []string
	for l := logrus.ErrorLevel; l <= logrus.TraceLevel; l++ {
		names = append(names, l.String())
	}
	return names
}

// maxSocketPath is the longest path in bytes that fits a sockaddr_un with its
// final NUL. See unix(7).
const maxSocketPath = 107

// The types of values. Set's errors say what is wanted; the caller says where
// the value came from.
type (
	pathValue struct {
		p     *string
		most  int  // bytes; 0: no limit
		empty bool // "" is allowed
	}
	choice struct {
		p       *string
		allowed []string
	}
	boolValue     struct{ p *bool }
	maskValue     struct{ p *uint32 }
	priorityValue struct{ p *int }
	listenValue   struct{ p *string }
	poolsValue    struct {
		p   *[]addressPool
		set bool // the default is gone
	}
)

func (v *pathValue) Set(s string) error {
	switch {
	case s == "" && v.empty:
	case !filepath.IsAbs(s) || strings.ContainsRune(s, 0):
		return errors.New("want an absolute path")
	case v.most > 0 && len(s) > v.most:
		return fmt.Errorf("want a path of at most %d bytes", v.most)
	default:
		s = filepath.Clean(s)
	}
	*v.p = s
	return nil
}

func (v *pathValue) String() string { return *v.p }
func (v *pathValue) Type() string   { return "path" }

func (v *choice) Set(s string) error {
	if !slices.Contains(v.allowed, s) {
		return fmt.Errorf("want %s", oneOf(v.allowed))
	}
	*v.p = s
	return nil
}

func (v *choice) String() string { return *v.p }
func (v *choice) Type() string   { return "name" }

// oneOf lists words as "a, b or c".
func oneOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func (v *boolValue) Set(s string) error {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return errors.New("want true or false")
	}
	*v.p = b
	return nil
}

func (v *boolValue) String() string   { return strconv.FormatBool(*v.p) }
func (v *boolValue) Type() string     { return "bool" }
func (v *boolValue) IsBoolFlag() bool { return true }

func (v *maskValue) Set(s string) error {
	m, err := strconv.ParseUint(s, 0, 32)
	if err == nil {
		_, err = nat.MarksOf(uint32(m))
	}
	if err != nil {
		return errors.New("want a number of 32 bits with at least two set, e.g. 0x30000000")
	}
	*v.p = uint32(m)
	return nil
}

func (v *maskValue) String() string { return fmt.Sprintf("%#x", *v.p) }
func (v *maskValue) Type() string   { return "mask" }

// Set leaves out what is or may be another table's number (rt_tables: 253 to
// 255), and what is not before the table main is looked up.
func (v *priorityValue) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 256 || n > 32763 {
		return errors.New("want a number from 256 to 32763")
	}
	*v.p = n
	return nil
}

func (v *priorityValue) String() string { return strconv.Itoa(*v.p) }
func (v *priorityValue) Type() string   { return "number" }

// Set takes an address with its port: an empty one, which means all of the host's
// that containers reach too, has to be written out.
func (v *listenValue) Set(s string) error {
	if s != "" {
		if a, err := netip.ParseAddrPort(s); err != nil || a.Port() == 0 || a.Addr().Zone() != "" {
			return errors.New("want IP:PORT, e.g. 127.0.0.1:9481 or [::1]:9481")
		}
	}
	*v.p = s
	return nil
}

func (v *listenValue) String() string { return *v.p }
func (v *listenValue) Type() string   { return "address" }

// Set adds one pool; several may be separated by blanks.
func (v *poolsValue) Set(s string) error {
	var pools []addressPool
	for _, word := range strings.Fields(s) {
		p, err := parsePool(word)
		if err != nil {
			return err
		}
		pools = append(pools, p)
	}
	if !v.set {
		*v.p, v.set = nil, true
	}
	*v.p = append(*v.p, pools...)
	return nil
}

func (v *poolsValue) String() string {
	if v.p == nil {
		return ""
	}
	words := make([]string, len(*v.p))
	for i, p := range *v.p {
		words[i] = fmt.Sprintf("base=%s,size=%d", p.Base, p.Size)
	}
	return strings.Join(words, " ")
}

func (v *poolsValue) Type() string { return "pool" }

// parsePool reads dockerd's form of a pool, base=CIDR,size=N.
func parsePool(s string) (p addressPool, err error) {
	wanted := errors.New("want base=CIDR,size=N, e.g. base=172.30.0.0/16,size=24")
	given := map[string]string{}
	for _, part := range strings.Split(s, ",") {
		key, value, ok := strings.Cut(part, "=")
		if _, twice := given[key]; !ok || twice || key != "base" && key != "size" {
			return p, wanted
		}
		given[key] = value
	}
	base, err := netip.ParsePrefix(given["base"])
	if err != nil || base.Addr().Is4In6() {
		return p, wanted
	}
	size, err := strconv.Atoi(given["size"])
	if err != nil {
		return p, wanted
	}
	if base = base.Masked(); size < base.Bits() || size > base.Addr().BitLen() {
		return p, fmt.Errorf("size=%d: want %d to %d for %s", size, base.Bits(), base.Addr().BitLen(), base)
	}
	return addressPool{Base: base, Size: size}, nil
}
