package cluster

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"fairway/store"
)

// A record of the release before, which lacks fields, and one of the release after,
// which has others besides, are both good.
func TestVersionSkew(t *testing.T) {
	v := newView(time.Minute)
	for key, value := range map[string]string{
		"hosts/old":                         `{"name":"old","advertise":"192.0.2.1"}`,
		"hosts/new":                         `{"name":"new","advertise":"192.0.2.2","started":"2027-01-02T03:04:05Z","cpus":[1,2],"capabilities":{"wireguard":true}}`,
		"segments/old":                      `{"name":"old","subnets":[{"prefix":"10.1.0.0/16","block":26}]}`,
		"segments/new":                      `{"name":"new","vni":9,"port":4789,"subnets":[],"encrypted":true}`,
		"members/new/old":                   `{"host":"old"}`,
		"members/new/new":                   `{"host":"new","mtu":9000}`,
		"endpoints/new/old/1":               `{"id":"1","mac":"02:00:00:00:00:01","ipv4":"10.1.0.2"}`,
		"endpoints/new/new/1":               `{"id":"1","mac":"02:00:00:00:00:02","ipv4":"10.1.0.3","ipv6":"","names":["a"],"weight":3}`,
		"blocks/new/10.1.0.0-26":            `{"host":"new","since":1}`,
		"claims/new/10.1.0.64-26/10.1.0.65": `{"host":"old"}`,
	} {
		if _, _, err := v.put(store.ClusterEntry{Key: key, Value: []byte(value), Created: 1, Revision: 1}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	if len(v.hosts) != 2 || len(v.segments) != 2 || len(v.members["new"]) != 2 || len(v.endpoints["new"]) != 2 {
		t.Errorf("the view has %+v", v)
	}
	_, _, err := v.put(store.ClusterEntry{Key: "keys/new/2", Value: []byte("?"), Revision: 1})
	if !errors.Is(err, errKind) || v.entries["keys/new/2"].Key != "" {
		t.Errorf("a kind of record of a newer release: %v", err)
	}
}

// Whatever changes a segment leaves what it doesn't know.
func TestUnknownFieldsStay(t *testing.T) {
	const text = `{"name":"s","vni":0,"port":0,"options":{"multicast":"true"},"encrypted":{"key":7},
		"subnets":[{"prefix":"10.1.0.0/16","block":26,"gateway":"","sticky":true}]}`
	v := newView(time.Minute)
	if _, _, err := v.put(store.ClusterEntry{Key: "segments/s", Value: []byte(text), Revision: 1}); err != nil {
		t.Fatal(err)
	}
	s := v.segments["s"]
	s.VNI, s.Port, s.Options = 9, 4789, nil
	s.Subnets = append(s.Subnets, newSubnet(netip.MustParsePrefix("fd00::/64")))
	s.Subnets[0].Gateway = netip.MustParseAddr("10.1.0.1")
	for range 2 { // again, from what was written
		var got, want any
		if err := json.Unmarshal(s.encode(), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(`{"name":"s","vni":9,"port":4789,"options":null,"encrypted":{"key":7},
			"subnets":[{"prefix":"10.1.0.0/16","block":26,"gateway":"10.1.0.1","sticky":true},
			{"prefix":"fd00::/64","block":112,"gateway":""}]}`), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		if _, _, err := v.put(store.ClusterEntry{Key: "segments/s", Value: s.encode(), Revision: 2}); err != nil {
			t.Fatal(err)
		}
		s = v.segments["s"]
	}
}
