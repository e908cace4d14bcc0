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

// Addr adds an address.
func (v Values) Addr(name string, ip netip.Addr) {
	if ip.IsValid() {
		v[name] = ip.String()
	}
}
