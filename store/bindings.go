package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
)

// PortBindings are kept with those in a row as one: a range of 10,000 ports is
// 10,000 bindings to Docker.
type PortBindings []PortBinding

// A run is a binding and those that follow it, each with ports that are one
// higher; or two such rows by turns, as where a port is published in both
// families. The names are those on disk.
type run struct {
	Proto       uint8
	HostIP      netip.Addr
	HostPort    uint16
	HostPortEnd uint16
	IP          netip.Addr
	Port        uint16
	N           int          `json:",omitempty"` // how many bindings; 0: one
	With        *PortBinding `json:",omitempty"` // the first of the other row
}

// MarshalJSON writes the runs.
func (b PortBindings) MarshalJSON() ([]byte, error) {
	if b == nil {
		return []byte("null"), nil
	}
	runs := []run{}
	for i := 0; i < len(b); {
		p := b[i]
		r := run{p.Proto, p.HostIP, p.HostPort, p.HostPortEnd, p.IP, p.Port, 0, nil}
		if n := b[i:].rows(1); n > 1 {
			r.N = n
			i += n
		} else if n = b[i:].rows(2); n > 1 {
			r.N, r.With = n, &b[i+1]
			i += 2 * n
		} else {
			i++
		}
		runs = append(runs, r)
	}
	return json.Marshal(runs)
}

// rows returns how many times the first bindings of b, so many of them, are
// there, each time with ports that are one higher.
func (b PortBindings) rows(width int) int {
	n := 1
	for ; (n+1)*width <= len(b); n++ {
		for i := range width {
			if p := b[n*width+i]; p.Port == 0 || p != b[(n-1)*width+i].next() {
				return n
			}
		}
	}
	return n
}

// UnmarshalJSON reads the runs. It refuses fields that it doesn't know.
func (b *PortBindings) UnmarshalJSON(text []byte) error {
	var runs []run
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&runs); err != nil {
		return err
	}
	*b = nil
	if runs != nil {
		*b = PortBindings{}
	}
	for _, r := range runs {
		n := max(r.N, 1)
		if r.N < 0 || n > 1<<16 || int(r.Port)+n > 1<<16 || r.With != nil && int(r.With.Port)+n > 1<<16 {
			return errors.New("a row of port bindings beyond port 65535")
		}
		p := PortBinding{r.Proto, r.HostIP, r.HostPort, r.HostPortEnd, r.IP, r.Port}
		for range n {
			*b = append(*b, p)
			p = p.next()
			if r.With != nil {
				*b = append(*b, *r.With)
				*r.With = r.With.next()
			}
		}
	}
	return nil
}

// next returns the binding whose ports are one higher, but for those that are
// left open.
func (p PortBinding) next() PortBinding {
	p.Port++
	if p.HostPort != 0 {
		p.HostPort++
	}
	if p.HostPortEnd != 0 {
		p.HostPortEnd++
	}
	return p
}
