package store

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
)

// TestPortBindings: what is written is read again, and rows are short.
func TestPortBindings(t *testing.T) {
	at := func(hostIP string, hostPort, end, port uint16) PortBinding {
		p := PortBinding{Proto: 6, HostPort: hostPort, HostPortEnd: end, Port: port}
		if hostIP != "" {
			p.HostIP = netip.MustParseAddr(hostIP)
		}
		return p
	}
	var row PortBindings
	for i := range uint16(10000) {
		row = append(row, at("0.0.0.0", 20000+i, 20000+i, 1000+i))
	}
	var both PortBindings
	for i := range uint16(10000) {
		both = append(both, row[i], at("::", 20000+i, 20000+i, 1000+i))
	}
	for name, b := range map[string]PortBindings{
		"both families":  both,
		"and an odd end": append(both[:5:5], at("", 80, 0, 80)),
		"none":           nil,
		"empty":          {},
		"one":            {at("", 8080, 0, 80)},
		"row":            row,
		"rows":           append(append(row[:20:20], at("::", 20020, 20020, 1020)), row[20:30]...),
		"ephemeral":      {at("", 0, 0, 80), at("", 0, 0, 81), at("", 0, 0, 83)},
		"same":           {at("", 80, 0, 80), at("", 80, 0, 80)},
		"to the end":     {at("", 65534, 65534, 65534), at("", 65535, 65535, 65535), at("", 0, 0, 0)},
		"around":         {at("", 65535, 0, 1), at("", 0, 0, 2)},
	} {
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		var got PortBindings
		if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, b) {
			t.Errorf("%s: written as %.200s and read as %.200v, %v", name, text, got, err)
		}
		if (name == "row" || name == "both families") && len(text) > 400 {
			t.Errorf("a row of 10,000 takes %d bytes", len(text))
		}
	}
	// As it was written before there were rows.
	var got PortBindings
	if err := json.Unmarshal([]byte(`[{"Proto":6,"HostIP":"","HostPort":80,"HostPortEnd":0,"IP":"10.0.0.2","Port":80}]`), &got); err != nil || len(got) != 1 {
		t.Errorf("a record without rows: %v, %v", got, err)
	}
	for _, bad := range []string{`[{"Port":65535,"N":2}]`, `[{"Port":1,"N":2,"With":{"Port":65535}}]`, `[{"N":-1}]`, `[{"Port":1,"M":2}]`, `[{"N":100000000}]`, `{}`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s is read as %v", bad, got)
		}
	}
}
