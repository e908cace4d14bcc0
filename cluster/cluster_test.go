package cluster

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"fairway/store"
)

func TestKeys(t *testing.T) {
	b := netip.MustParsePrefix("10.40.1.64/26")
	ip := netip.MustParseAddr("10.40.1.70")
	for _, key := range []string{
		hostKey("a"), aliveKey("a"), segmentKey("backbone"), vniKey(9), memberKey("backbone", "a"),
		endpointKey("backbone", "a", "e1"), blockKey("backbone", b), claimKey("backbone", b, ip), wantKey("backbone", b, ip),
		blockKey("six", netip.MustParsePrefix("fd00::1:0/112")), networkKey("backbone"), networkOnKey("backbone", "a"),
	} {
		p, err := parseKey(key)
		if err != nil || p.key() != key {
			t.Errorf("%s: %+v is %s, %v", key, p, p.key(), err)
		}
	}
	for _, key := range []string{
		"", "hosts", "hosts/", "hosts/a/b", "hosts/../a", "hosts/-a", "hosts/" + strings.Repeat("a", 64), "dreams/a", "segments/a b",
		"blocks/s/10.40.1.64", "blocks/s/10.40.1.65-26", "blocks/s/10.40.1.64-33", "claims/s/10.40.1.64-26/10.40.1.1",
		"networks/../a", "networks/a/b", "networks-on/a", "networks-on/a/..", "networks-on/-/a",
		"claims/s/10.40.1.64-26/10.40.1.070", "endpoints/s/a/", "endpoints/s/a\n/e", "blocks/s/::ffff:10.40.1.64-26x",
	} {
		if p, err := parseKey(key); err == nil {
			t.Errorf("%q: taken for %+v", key, p)
		}
	}
}

// What comes from etcd is checked like what comes from anybody.
func TestRecordRefusals(t *testing.T) {
	v := newView(time.Minute)
	for key, value := range map[string]string{
		"hosts/a":              `{"name":"a","advertise":"224.0.0.1"}`,
		"hosts/b":              `{"name":"../b","advertise":"192.0.2.1"}`,
		"hosts/c":              `{`,
		"segments/a":           `{"name":"a","vni":16777216}`,
		"segments/b":           `{"name":"b","subnets":[{"prefix":"10.0.0.1/8","block":26}]}`,
		"segments/c":           `{"name":"c","subnets":[{"prefix":"10.0.0.0/8","block":4}]}`,
		"segments/d":           `{"name":"d","subnets":[{"prefix":"10.0.0.0/8","block":26,"gateway":"192.0.2.1"}]}`,
		"segments/e":           `{"name":"e","subnets":[{"prefix":"10.0.0.0/8","block":26},{"prefix":"10.0.0.0/8","block":26}]}`,
		"endpoints/s/a/1":      `{"id":"1","mac":"01:00:5e:00:00:01","ipv4":"10.0.0.1"}`,
		"endpoints/s/a/2":      `{"id":"2","mac":"02:00:5e:00:00:01"}`,
		"endpoints/s/a/3":      `{"id":"3","mac":"02:00:5e:00:00:01","ipv4":"fd00::1"}`,
		"endpoints/s/a/4":      `{"id":"4","mac":"02:00:5e:00:00:01","ipv6":"fe80::1%eth0"}`,
		"members/s/ä":          `{"host":"a"}`,
		"blocks/s/10.0.0.0-26": `{"host":"a/b"}`,
	} {
		if _, _, err := v.put(store.ClusterEntry{Key: key, Value: []byte(value), Revision: 1}); err == nil {
			t.Errorf("%s: took %s", key, value)
		}
	}
	if len(v.hosts)+len(v.segments)+len(v.endpoints["s"])+len(v.blocks["s"]) > 0 {
		t.Errorf("the view holds %+v", v)
	}
	// A newer version's fields are no mistake.
	if _, _, err := v.put(store.ClusterEntry{Key: "hosts/a", Value: []byte(`{"name":"a","advertise":"192.0.2.1","dreams":1}`), Revision: 2}); err != nil {
		t.Error(err)
	}
}

// An older event never undoes a newer one.
func TestViewOrder(t *testing.T) {
	v := newView(time.Minute)
	e := func(mac string, revision int64) store.ClusterEntry {
		return store.ClusterEntry{
			Key: "endpoints/s/a/1", Value: encode(Endpoint{ID: "1", MAC: mac, IPv4: netip.MustParseAddr("10.0.0.1")}), Revision: revision,
		}
	}
	is := func(mac string) {
		t.Helper()
		if got := v.endpoints["s"]["a/1"].MAC; got != mac {
			t.Errorf("MAC %q, want %q", got, mac)
		}
	}
	v.put(e("02:00:00:00:00:02", 2))
	v.put(e("02:00:00:00:00:01", 1))
	is("02:00:00:00:00:02")
	v.drop("endpoints/s/a/1", 1)
	is("02:00:00:00:00:02")
	v.drop("endpoints/s/a/1", 3)
	v.gone.add("endpoints/s/a/1", 3)
	v.put(e("02:00:00:00:00:02", 2))
	is("")
	v.put(e("02:00:00:00:00:04", 4))
	is("02:00:00:00:00:04")
}

// A key's revision never falls: where it did, etcd was restored.
func TestRestored(t *testing.T) {
	is := func(value string, revision int64) store.ClusterEntry {
		return store.ClusterEntry{Value: []byte(value), Revision: revision}
	}
	for _, c := range []struct {
		name       string
		known, now store.ClusterEntry
		revision   int64 // that etcd was at
		want       bool
	}{
		{"nothing happened", is("x", 7), is("x", 7), 9, false},
		{"it changed", is("x", 7), is("y", 8), 9, false},
		{"what is known is newer than what was read", is("y", 10), is("x", 8), 9, false},
		{"known only from the disk", is("x", 0), is("y", 8), 9, false},
		{"it fell", is("y", 8), is("x", 7), 9, true},
		{"it is the same by chance", is("y", 8), is("x", 8), 9, true},
	} {
		if got := restored(c.known, c.now, c.revision); got != c.want {
			t.Errorf("%s: restored is %v", c.name, got)
		}
	}
}

func TestBlocks(t *testing.T) {
	for subnet, want := range map[string]int{
		"10.40.0.0/16": 26, "10.0.0.0/8": 26, "10.1.0.0/20": 26, "10.1.1.0/24": 28, "10.1.1.0/28": 30, "10.1.1.0/30": 31, "10.1.1.0/31": 32,
		"fd00::/64": 112, "fd00::/120": 124,
	} {
		n := newSubnet(netip.MustParsePrefix(subnet))
		if n.Block != want {
			t.Errorf("%s: blocks of length %d, want %d", subnet, n.Block, want)
		}
		seen := map[netip.Prefix]bool{}
		count := uint64(1) << min(n.Block-n.Prefix.Bits(), 12)
		for i := range count {
			b := nth(n, i)
			if seen[b] || b != b.Masked() || !n.Prefix.Contains(b.Addr()) || n.block(b.Addr()) != b {
				t.Fatalf("%s: block %d is %s", subnet, i, b)
			}
			seen[b] = true
		}
	}
}

func TestParseEndpoints(t *testing.T) {
	for _, good := range []string{"https://etcd1:2379", "https://a:2379,https://b:2379/", "http://127.0.0.1:2379", "http://[::1]:2379", "http://localhost:1"} {
		if _, err := ParseEndpoints(good, false); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "etcd1", "etcd1:2379", "https://etcd1", "http://etcd1:2379", "http://192.0.2.1:2379", "https://a:1,http://192.0.2.1:1",
		"https://user:word@a:1", "ftp://a:1", "https://a:1/path", "https://a:1,http://127.0.0.1:1",
	} {
		if got, err := ParseEndpoints(bad, false); err == nil {
			t.Errorf("%s: taken as %v", bad, got)
		}
	}
	if _, err := ParseEndpoints("http://192.0.2.1:2379", true); err != nil {
		t.Error(err)
	}
}
