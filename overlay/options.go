package overlay

import (
	"errors"
	"fmt"
	"maps"
	"strconv"

	"fairway/option"
)

// Options are a network's -o settings, as they take effect.
type Options struct {
	Segment string // name of the segment in the cluster
	VNI     uint32 // 0: the cluster's choice
	Port    uint16 // UDP; 0: DefaultPort, or the cluster's choice
	MTU     int    // bytes; 0: what the underlay carries
	NoDNS   bool   // questions of this host's containers for names of the segment aren't answered
	// Multicast is "true" or "false"; "": as the segment has it, or false.
	Multicast string
	// Bridge are the options that it has in common with mode bridge.
	Bridge map[string]string
}

// DefaultPort is the UDP port of VXLAN (RFC 7348 section 5).
const DefaultPort = 4789

// The VNIs: 24 bits. Those that fairway chooses are from FirstVNI up, clear of
// Swarm's.
const (
	MaxVNI   = 1<<24 - 1
	FirstVNI = 1 << 23
)

// ParseOptions reads -o key=value pairs. It refuses what is unknown, not
// allowed, or said twice with different values, in one line.
func ParseOptions(pairs map[string]string) (Options, error) {
	o := Options{Bridge: map[string]string{}}
	if err := Table(&o).Parse(pairs); err != nil {
		return Options{}, err
	}
	for short, long := range map[string]string{"mtu": dockerMTU, "vni": dockerVNI} {
		a, isA := pairs[short]
		b, isB := pairs[long]
		if isA && isB && a != b {
			return Options{}, fmt.Errorf("option %s=%q: not allowed with %s=%q, which means the same", short, a, long, b)
		}
	}
	if o.Segment == "" {
		return Options{}, errors.New("option mode=\"overlay\": needs -o segment=NAME, and the same as --ipam-opt segment=NAME")
	}
	return o, nil
}

const (
	dockerMTU = "com.docker.network.driver.mtu"
	dockerVNI = "com.docker.network.driver.overlay.vxlanid_list"
)

// Table returns the options of the mode, each setting its field of o. Those that
// mode bridge has, too, are checked by that.
func Table(o *Options) option.Table {
	var mode string
	mtu, vni := option.Int(&o.MTU, 1280, 65535), func(s string) error {
		n, err := strconv.ParseUint(s, 10, 24)
		if err != nil || n == 0 {
			return errors.New("no VNI")
		}
		o.VNI = uint32(n)
		return nil
	}
	const mtus, vnis = "bytes from 1280 to 65535", "a number from 1 to 16777215"
	table := option.Table{
		row("mode", "overlay", "The network mode.", option.OneOf(&mode, "overlay")),
		row("segment", segmentAllowed, "Name of the segment: the network's identity in the cluster. The same must be said as --ipam-opt segment=NAME.", func(s string) error {
			if !IsSegment(s) {
				return errors.New("no name")
			}
			o.Segment = s
			return nil
		}),
		row("vni", vnis, "VXLAN network identifier of the segment; default: a free one from 8388608 up. On all hosts the same.", vni),
		row("port", "a UDP port from 1 to 65535", "UDP port of the segment; default 4789. On all hosts the same.", func(s string) error {
			n, err := strconv.ParseUint(s, 10, 16)
			if err != nil || n == 0 {
				return errors.New("no port")
			}
			o.Port = uint16(n)
			return nil
		}),
		row("mtu", mtus, "MTU of the bridge and of the containers' interfaces; default: that of the underlay, less 50 bytes, or 70 over IPv6.", mtu),
		row(dockerMTU, mtus, "As mtu.", mtu),
		row(dockerVNI, vnis, "As vni: one number.", vni),
		row("dns", "on or off", "off: what this host's containers ask for by DNS is left alone, and names of containers on other hosts aren't found.", func(s string) error {
			var on bool
			err := option.OnOff(&on)(s)
			o.NoDNS = err == nil && !on
			return err
		}),
		row("multicast", "true, false", "Multicast goes to the hosts that have the segment, and to those containers that want it; broadcasts go to all. Default false: both stay on the host. On all hosts the same.", func(s string) error {
			on, err := strconv.ParseBool(s)
			o.Multicast = strconv.FormatBool(on)
			return err
		}),
		row("antispoof", "true", "A container sends only from its own addresses; always on.", func(s string) error {
			if on, err := strconv.ParseBool(s); err != nil || !on {
				return errors.New("not true")
			}
			return nil
		}),
	}
	for _, name := range inherited() {
		table = append(table, row(name, "what mode bridge allows", "As in mode bridge.", func(s string) error {
			if o.Bridge == nil {
				o.Bridge = map[string]string{}
			}
			o.Bridge[name] = s
			return nil
		}))
	}
	return table
}

// inherited are the options that mean what they do in mode bridge. Without
// enable_icc: a bridge could keep containers from those on other hosts only
// together with the other hosts themselves.
func inherited() []string {
	const docker = "com.docker.network."
	return []string{
		"routes", "gateway", "snat", "snat6", "publish", "publish_by", "allow_addresses",
		docker + "bridge.enable_ip_masquerade", docker + "bridge.host_binding_ipv4",
		docker + "bridge.trusted_host_interfaces", docker + "container_iface_prefix", docker + "host_ipv4", docker + "host_ipv6",
		docker + "enable_ipv4", docker + "enable_ipv6", docker + "advertise_addr_nmsgs", docker + "advertise_addr_ms",
	}
}

// asBridge returns the options of the network seen as one of mode bridge.
func (o Options) asBridge() map[string]string {
	out := maps.Clone(o.Bridge)
	if out == nil {
		out = map[string]string{}
	}
	out["mode"] = "bridge"
	return out
}

const segmentAllowed = "at most 63 of a-z 0-9 - _, beginning with a letter or a number"

// IsSegment reports whether s can be the name of a segment.
func IsSegment(s string) bool {
	if len(s) == 0 || len(s) > 63 {
		return false
	}
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '_') {
			return false
		}
	}
	return true
}

func row(name, allowed, meaning string, set func(string) error) option.Option {
	return option.Option{Name: name, Allowed: allowed, Meaning: meaning, Set: set}
}
