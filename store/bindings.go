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
// higher. The names are those on disk.
type run struct {
	Proto       uint8
	HostIP      netip.Addr
	HostPort    uint16
	HostPortEnd uint16
	IP          netip.Addr
	Port        uint16
	N           int `json:",omitempty"` // how many bindings; 0: one
}

// MarshalJSON writes the runs.
func (b PortBindings) MarshalJSON() ([]byte, error) {
	if b == nil {
		return []byte("null"), nil
	}
	runs := []run{}
	for i, p := range b {
		if i > 0 && p.Port != 0 && p == b[i-1].next() {
			last := &runs[len(runs)-1]
			last.N = max(last.N, 1) + 1
			continue
		}
		runs = append(runs, run{p.Proto, p.HostIP, p.HostPort, p.HostPortEnd, p.IP, p.Port, 0})
	}
	return json.Marshal(runs)
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
		if n := max(r.N, 1); r.N < 0 || n > 1<<16 || int(r.Port)+n > 1<<16 {
			return errors.New("a row of port bindings beyond port 65535")
		}
		p := PortBinding{r.Proto, r.HostIP, r.HostPort, r.HostPortEnd, r.IP, r.Port}
		for range max(r.N, 1) {
			*b = append(*b, p)
			p = p.next()
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
