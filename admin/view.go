package admin

import (
	"net/netip"
	"time"
)

// Version is the version of the API, in every reply's top object.
const Version = 1

// Networks is the reply to GET /v1/networks.
type Networks struct {
	Version  int       `json:"version"`
	Networks []Network `json:"networks"`
}

// Endpoints is the reply to GET /v1/endpoints.
type Endpoints struct {
	Version   int        `json:"version"`
	Endpoints []Endpoint `json:"endpoints"`
}

// Ports is the reply to GET /v1/ports.
type Ports struct {
	Version int    `json:"version"`
	Ports   []Port `json:"ports"`
	// Waiting are live ports that can't be published, mostly since somebody has
	// taken them while the container was stopped. They are tried again.
	Waiting []Waiting `json:"waiting,omitempty"`
}

// A Waiting port was published on a running container, and isn't any more.
type Waiting struct {
	Protocol    string     `json:"protocol"`
	HostIP      netip.Addr `json:"host_ip"` // "": as the network publishes
	HostPort    uint16     `json:"host_port"`
	Port        uint16     `json:"port"`
	Container   string     `json:"container,omitempty"`
	ContainerID string     `json:"container_id"`
	Network     string     `json:"network"`
	Why         string     `json:"why"`
}

// Daemon is the reply to GET /v1/version.
type Daemon struct {
	Version int   `json:"version"`
	Daemon  Build `json:"daemon"`
}

// Status is the reply to GET /v1/status.
type Status struct {
	Version int       `json:"version"`
	Daemon  Build     `json:"daemon"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// State is StateRestoring, StateHealthy, or StateFailing. While it restores
	// the rest isn't known.
	State string `json:"state"`
	// Settings are what it was told by flags, environment and file, by the flag's
	// name.
	Settings  map[string]string `json:"settings,omitempty"`
	Networks  int               `json:"networks"`
	Endpoints int               `json:"endpoints"`
	Ports     int               `json:"ports"` // published ones
	// Leases counts the addresses from DHCP servers, by state; LeasesLost how many
	// were lost since the daemon started.
	Leases     map[string]int `json:"leases,omitempty"`
	LeasesLost uint64         `json:"leases_lost,omitempty"`
	// Cluster is what the host shares with others; absent: it is in none.
	Cluster *ClusterStatus `json:"cluster,omitempty"`
	// Firewall is who filters: "nftables" or "iptables".
	Firewall string `json:"firewall,omitempty"`
	// Checked is when the kernel was last compared with the records as a whole,
	// and Trouble why it couldn't be, or not be made equal.
	Checked time.Time `json:"checked,omitzero"`
	Trouble string    `json:"trouble,omitempty"`
	// RepairedLinks and RepairedRules are what others had changed since the
	// daemon was ready.
	RepairedLinks Repaired `json:"repaired_links"`
	RepairedRules Repaired `json:"repaired_rules"`
}

// The states of a daemon.
const (
	StateRestoring = "restoring" // its networks, after it was started
	StateHealthy   = "healthy"   // the kernel is as recorded
	StateFailing   = "failing"   // it can't be made so
)

// Repaired counts objects in the kernel that were made as recorded again.
type Repaired struct {
	Count int       `json:"count"`
	Last  time.Time `json:"last,omitzero"`
	What  string    `json:"what,omitempty"` // the last one
}

// Build says what a binary was built from.
type Build struct {
	Version  string `json:"version"`            // of fairway, e.g. "1.0.0"
	Revision string `json:"revision,omitempty"` // git commit; "+dirty" if the tree had changes
	Go       string `json:"go"`                 // e.g. "go1.26.0"
}

// A Network is a network as operators see it.
type Network struct {
	ID        string            `json:"id"`
	Name      string            `json:"name,omitempty"` // absent until Docker was asked
	Engine    string            `json:"engine,omitempty"`
	Mode      string            `json:"mode"`
	Link      string            `json:"link,omitempty"`   // the bridge, or the parent
	Remark    string            `json:"remark,omitempty"` // what an operator should know, e.g. "waits for eth1"
	MTU       int               `json:"mtu,omitempty"`    // bytes
	Internal  bool              `json:"internal"`
	Subnets   []Subnet          `json:"subnets"`
	Options   map[string]string `json:"options"` // as given
	Endpoints int               `json:"endpoints"`
	Created   time.Time         `json:"created"`
}

// A Subnet is a pool of a network.
type Subnet struct {
	Subnet  netip.Prefix `json:"subnet"`
	Gateway netip.Addr   `json:"gateway"` // "" if none
}

// An Endpoint is a container's attachment to a network.
type Endpoint struct {
	ID          string       `json:"id"`
	Network     string       `json:"network"`
	NetworkName string       `json:"network_name,omitempty"`
	Container   string       `json:"container,omitempty"` // its name; absent until Docker was asked
	ContainerID string       `json:"container_id,omitempty"`
	IPv4        netip.Prefix `json:"ipv4"` // "" if none
	IPv6        netip.Prefix `json:"ipv6"`
	// SLAAC are the IPv6 addresses that the container has made of the LAN's router
	// advertisements, as it has them now (ipv6_mode=slaac).
	SLAAC  []netip.Prefix `json:"slaac,omitempty"`
	MAC    string         `json:"mac"`
	Link   string         `json:"link"` // its end on the host, or the parent
	Mode   string         `json:"mode"`
	Remark string         `json:"remark,omitempty"` // as of its network
	// Denied is how many frames were dropped that it sent and weren't its own
	// (antispoof); null if it may send what it likes.
	Denied  *uint64           `json:"denied"`
	Sandbox string            `json:"sandbox,omitempty"`
	Joined  bool              `json:"joined"`
	Options map[string]string `json:"options"`
	Created time.Time         `json:"created"`
}

// A Port is a published port.
type Port struct {
	Protocol    string     `json:"protocol"` // "tcp", "udp", "sctp"
	HostIP      netip.Addr `json:"host_ip"`  // unspecified: every address of the family
	HostPort    uint16     `json:"host_port"`
	IP          netip.Addr `json:"ip"` // the container's
	Port        uint16     `json:"port"`
	Container   string     `json:"container,omitempty"`
	ContainerID string     `json:"container_id,omitempty"`
	Endpoint    string     `json:"endpoint"`
	Network     string     `json:"network"`
	NetworkName string     `json:"network_name,omitempty"`
	// TakenBy is who on the host took the port while the daemon was down, or
	// "unknown". Outside traffic still reaches the container, but where the host's
	// firewall decides. Absent where
	// fairway holds the port.
	TakenBy string `json:"taken_by,omitempty"`
	// Proxied says what the daemon carries itself, since the kernel can't translate
	// it or the host's firewall is to decide: ProxiedAll or ProxiedLocal; absent for nothing, and where the port is
	// somebody else's.
	Proxied string `json:"proxied,omitempty"`
	// Live is true if the port was published while the container ran.
	Live bool `json:"live,omitempty"`
	// ReachableFrom is by what the kernel holds, other programs' rules aside:
	// "all"; what the option publish says, e.g. "10.0.0.0/8,iface:eth1"; "host
	// firewall", whoever the host's own INPUT rules let in; "this host"; "routing", by a route to the container's address;
	// "nobody"; "unknown" if the kernel couldn't be asked. Why says why it isn't
	// what was meant.
	ReachableFrom string `json:"reachable_from"`
	Why           string `json:"why,omitempty"`
	// Connections are those that are open now, and what they carried in both
	// directions: just where traffic was asked for, and not where the daemon carries
	// all; Bytes and Packets where the
	// host counts them (net.netfilter.nf_conntrack_acct).
	Connections *uint64 `json:"connections,omitempty"`
	Bytes       *uint64 `json:"bytes,omitempty"`
	Packets     *uint64 `json:"packets,omitempty"`
}

// What may be proxied of a port.
const (
	ProxiedAll   = "all"   // everything: it comes by IPv6 to an IPv4 address, or publish=host-firewall
	ProxiedLocal = "local" // what comes to ::1, or from a link-local address
)

// failure is every reply that isn't 200.
type failure struct {
	Version int    `json:"version"`
	Error   string `json:"error"`
}
