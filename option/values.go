package option

import (
	"net/netip"
	"strconv"
)

// Values are options by their names, written as a table reads them. What has its
// zero value isn't added.
type Values map[string]string

// Text adds a text.
func (v Values) Text(name, s string) {
	if s != "" {
		v[name] = s
	}
}

// Int adds a number.
func (v Values) Int(name string, n int) {
	if n != 0 {
		v[name] = strconv.Itoa(n)
	}
}

// OnOff adds what OnOff reads, whichever it is.
func (v Values) OnOff(name string, b bool) { v[name] = map[bool]string{true: "on", false: "off"}[b] }

// None adds what None reads.
func (v Values) None(name string, b bool) {
	if b {
		v[name] = "none"
	}
}

// Addr adds an address.
func (v Values) Addr(name string, ip netip.Addr) {
	if ip.IsValid() {
		v[name] = ip.String()
	}
}
