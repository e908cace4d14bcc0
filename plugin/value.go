package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"strings"
)

// Limits of what a request may hold, well above what any engine sends.
const (
	maxID   = 128  // bytes of an ID; Docker's are 64 hex digits, Swarm's 25 characters
	maxPath = 1024 // bytes of a sandbox key
	maxName = 255  // bytes of a container's name
)

// errEmpty answers a request whose body was lost: Docker repeats a request
// after a broken connection with an empty body, which must not be taken for
// one with nothing but zero values.
var errEmpty = errors.New("malformed request: empty body") //nolint:gochecknoglobals // an error value

// decode reads exactly one JSON value.
func decode[T any](body []byte) (v T, err error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return v, errEmpty
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("malformed request: %w", err)
	}
	return v, nil
}

// checkID accepts what can stand anywhere: in a log, a link's alias, a key.
func checkID(kind, id string) error {
	ok := id != "" && len(id) <= maxID && id[0] != '.' && id[0] != '-'
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
	}
	if !ok {
		return fmt.Errorf("malformed request: %s %s: want 1 to %d letters, digits, '_', '.' or '-'", kind, excerpt(id), maxID)
	}
	return nil
}

// checkPool accepts a PoolID: opaque, but printable and of one word.
func checkPool(id string) error {
	ok := id != "" && len(id) <= 2*maxID
	for i := 0; ok && i < len(id); i++ {
		ok = id[i] > ' ' && id[i] < 0x7f
	}
	if !ok {
		return fmt.Errorf("malformed request: PoolID %s: want 1 to %d printable characters", excerpt(id), 2*maxID)
	}
	return nil
}

// checkSandbox accepts the path of a network namespace.
func checkSandbox(key string) error {
	ok := path.IsAbs(key) && len(key) <= maxPath && path.Clean(key) == key
	for i := 0; ok && i < len(key); i++ {
		ok = key[i] >= ' ' && key[i] != 0x7f
	}
	if !ok {
		return fmt.Errorf("malformed request: SandboxKey %s: want an absolute path", excerpt(key))
	}
	return nil
}

// family is the address family that a field is of.
type family int

const (
	anyFamily family = iota
	ipv4
	ipv6
)

func (f family) of(a netip.Addr) bool {
	return a.Zone() == "" && !a.Is4In6() && (f == anyFamily || a.Is4() == (f == ipv4))
}

func (f family) String() string {
	return [...]string{"an IP", "an IPv4", "an IPv6"}[f]
}

// parsePrefix reads an address with its subnet's length; "" is the invalid prefix.
func parsePrefix(field, s string, f family) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || !f.of(p.Addr()) {
		return netip.Prefix{}, fmt.Errorf("malformed request: %s %s: want %s address with a prefix length", field, excerpt(s), f)
	}
	return p, nil
}

// parseAddr reads an address and drops the prefix length that Docker may have
// left on it; "" is the invalid address.
func parseAddr(field, s string, f family) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		var p netip.Prefix
		p, err = netip.ParsePrefix(s)
		a = p.Addr()
	}
	if err != nil || !f.of(a) {
		return netip.Addr{}, fmt.Errorf("malformed request: %s %s: want %s address", field, excerpt(s), f)
	}
	return a, nil
}

// parseMAC returns the colon form of the MAC address of one station; "" is "".
func parseMAC(field, s string) (string, error) {
	if s == "" {
		return "", nil
	}
	mac, err := net.ParseMAC(s)
	if err != nil {
		return "", fmt.Errorf("malformed request: %s %s: want a MAC address", field, excerpt(s))
	}
	return checkMAC(field, mac)
}

// checkMAC refuses what a container's interface can't have: another length than
// six bytes, the group bit (IEEE 802), all zero.
func checkMAC(field string, mac net.HardwareAddr) (string, error) {
	if len(mac) != 6 || mac[0]&1 != 0 || strings.Trim(string(mac), "\x00") == "" {
		return "", fmt.Errorf("%s %s: want a unicast MAC address of six bytes", field, excerpt(mac.String()))
	}
	return mac.String(), nil
}

// excerpt quotes s for an error that a terminal will show.
func excerpt(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
