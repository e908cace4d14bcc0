package plugin

import (
	"encoding/json"
	"errors"
	"fmt"

	"fairway/store"
)

// boolean returns the value of a key that may be absent.
func (o options) boolean(key string, absent bool) (bool, error) {
	raw, ok := o[key]
	if !ok || string(raw) == "null" {
		return absent, nil
	}
	var v bool
	if err := json.Unmarshal(raw, &v); err != nil {
		return false, fmt.Errorf("malformed request: option %s=%s: want true or false", key, excerpt(string(raw)))
	}
	return v, nil
}

// generic returns the options that the user gave with -o.
func (o options) generic() (map[string]string, error) {
	var values map[string]json.RawMessage
	if raw, ok := o[keyGeneric]; ok {
		if err := json.Unmarshal(raw, &values); err != nil {
			return nil, fmt.Errorf("malformed request: option %s: want an object of texts", keyGeneric)
		}
	}
	texts := make(map[string]string, len(values))
	for k, raw := range values {
		v, ok := text(raw)
		if !ok {
			return nil, fmt.Errorf("option %s=%s: want a text", k, excerpt(string(raw)))
		}
		texts[k] = v
	}
	return texts, nil
}

// texts returns what the user gave with --network …,driver-opt=key=value. What
// is not a text is dockerd's own, and so are the keys it has for itself.
func (o options) texts() map[string]string {
	texts := map[string]string{}
	for k, raw := range o {
		switch k {
		case keyPortMap, keyExposedPorts, keyMAC, keyDNSServers, keyGeneric:
			continue
		}
		if v, ok := text(raw); ok {
			texts[k] = v
		}
	}
	return texts
}

func text(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	var v string
	err := json.Unmarshal(raw, &v)
	return v, err == nil
}

// mac returns keyMAC's value as a colon form; "" if it is absent.
func (o options) mac() (string, error) {
	raw, ok := o[keyMAC]
	if !ok || string(raw) == "null" {
		return "", nil
	}
	var b []byte // JSON's form of bytes is base64
	if err := json.Unmarshal(raw, &b); err != nil {
		return "", fmt.Errorf("malformed request: option %s=%s: want base64", keyMAC, excerpt(string(raw)))
	}
	if len(b) == 0 {
		return "", nil
	}
	return checkMAC("option "+keyMAC, b)
}

// ports returns the ports to publish, nil for none. The exposed ports are
// checked too: nothing uses them.
func (o options) ports() ([]store.PortBinding, error) {
	var exposed []transportPort
	if err := o.list(keyExposedPorts, &exposed); err != nil {
		return nil, err
	}
	for _, p := range exposed {
		if err := checkPort(p.Proto, p.Port); err != nil {
			return nil, fmt.Errorf("malformed request: exposed port: %w", err)
		}
	}
	var entries []portBinding
	if err := o.list(keyPortMap, &entries); err != nil {
		return nil, err
	}
	var bindings []store.PortBinding
	for _, e := range entries {
		b, err := e.binding()
		if err != nil {
			return nil, fmt.Errorf("malformed request: port binding: %w", err)
		}
		bindings = append(bindings, b)
	}
	return bindings, nil
}

func (o options) list(key string, v any) error {
	raw, ok := o[key]
	if !ok {
		return nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("malformed request: option %s: %w", key, err)
	}
	return nil
}

func (e portBinding) binding() (store.PortBinding, error) {
	if err := checkPort(e.Proto, e.Port); err != nil {
		return store.PortBinding{}, err
	}
	if e.HostPortEnd != 0 && (e.HostPort == 0 || e.HostPortEnd < e.HostPort) {
		return store.PortBinding{}, fmt.Errorf("host ports %d to %d: want the lower one first", e.HostPort, e.HostPortEnd)
	}
	if _, err := parseAddr("IP", e.IP, anyFamily); err != nil {
		return store.PortBinding{}, err
	}
	host, err := parseAddr("HostIP", e.HostIP, anyFamily)
	if err != nil {
		return store.PortBinding{}, err
	}
	return store.PortBinding{
		Proto: e.Proto, Port: e.Port,
		HostIP: host, HostPort: e.HostPort, HostPortEnd: e.HostPortEnd,
	}, nil
}

// checkPort accepts ports of the protocols that Docker publishes: tcp, udp, sctp.
func checkPort(proto uint8, port uint16) error {
	if proto != 6 && proto != 17 && proto != 132 {
		return fmt.Errorf("protocol %d: want 6 (tcp), 17 (udp) or 132 (sctp)", proto)
	}
	if port == 0 {
		return errors.New("port 0: want 1 to 65535")
	}
	return nil
}
