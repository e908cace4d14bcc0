package main

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
)

// readAll reads a config from flags, environment and the text of a file, which
// may be "".
func readAll(t *testing.T, args []string, env map[string]string, file string) (config, error) {
	t.Helper()
	var c config
	fs := pflag.NewFlagSet("daemon", pflag.ContinueOnError)
	c.flags(fs)
	fs.String("config", "", "")
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	path := filepath.Join(t.TempDir(), "fairway.yaml")
	if file != "" {
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := fillSettings(fs, func(k string) (string, bool) { v, ok := env[k]; return v, ok }, path, false)
	return c, err
}

func TestConfigPrecedence(t *testing.T) {
	pool := func(base string, size int) addressPool { return addressPool{netip.MustParsePrefix(base), size} }
	standard := config{
		Socket: "/run/docker/plugins/fairway.sock", AdminSocket: "/run/fairway/admin.sock", StateDir: "/var/lib/fairway",
		Firewall: "auto", MarkMask: 0x30000000, RulePriority: 4000, IPForward: true, DockerSocket: "/var/run/docker.sock", LogLevel: "info", LogFormat: "text",
		Cluster: clusterConfig{Name: "default"},
	}
	with := func(change func(*config)) config { c := standard; change(&c); return c }
	tests := []struct {
		name string
		args []string
		env  map[string]string
		file string
		want config
	}{
		{name: "defaults", want: standard},
		{name: "an empty file", file: "# nothing\n", want: standard},
		{
			name: "file", file: "state-dir: /srv/fw\nip-forward: false\nlog-level: debug\ndocker-socket: \"\"\n" +
				"default-address-pool:\n  - base=10.1.2.3/8,size=24\n  - base=fd00::/48,size=64\n",
			want: with(func(c *config) {
				c.StateDir, c.IPForward, c.LogLevel, c.DockerSocket = "/srv/fw", false, "debug", ""
				c.DefaultPools = []addressPool{pool("10.0.0.0/8", 24), pool("fd00::/48", 64)}
			}),
		},
		{
			name: "environment over file", file: "state-dir: /srv/fw\nlog-level: debug\ndefault-address-pool: base=10.0.0.0/8,size=24\n",
			env: map[string]string{
				"FAIRWAY_STATE_DIR": "/env", "FAIRWAY_IP_FORWARD": "0", "FAIRWAY_DOCKER_SOCKET": "",
				"FAIRWAY_DEFAULT_ADDRESS_POOL": "size=26,base=10.9.0.0/16 base=10.8.0.0/16,size=28",
			},
			want: with(func(c *config) {
				c.StateDir, c.IPForward, c.LogLevel, c.DockerSocket = "/env", false, "debug", ""
				c.DefaultPools = []addressPool{pool("10.9.0.0/16", 26), pool("10.8.0.0/16", 28)}
			}),
		},
		{
			name: "flag over environment over file", file: "state-dir: /srv/fw\nfirewall: auto\n",
			env: map[string]string{"FAIRWAY_STATE_DIR": "/env", "FAIRWAY_FIREWALL": "auto", "FAIRWAY_DEFAULT_ADDRESS_POOL": "base=10.0.0.0/8,size=24"},
			args: []string{
				"--state-dir=/flag/", "--firewall", "iptables", "--ip-forward=false",
				"--default-address-pool", "base=10.9.0.0/16,size=26", "--default-address-pool", "base=10.8.0.0/16,size=28",
			},
			want: with(func(c *config) {
				c.StateDir, c.Firewall, c.IPForward = "/flag", "iptables", false
				c.DefaultPools = []addressPool{pool("10.9.0.0/16", 26), pool("10.8.0.0/16", 28)}
			}),
		},
		{name: "an empty variable is none", env: map[string]string{"FAIRWAY_LOG_LEVEL": ""}, file: "log-level: trace\n", want: with(func(c *config) { c.LogLevel = "trace" })},
		{name: "a key without a value is none", file: "log-level:\n", want: standard},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readAll(t, tt.args, tt.env, tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestConfigRefusals(t *testing.T) {
	env := func(k, v string) map[string]string { return map[string]string{k: v} }
	tests := []struct {
		env        map[string]string
		file, want string
	}{
		{file: "socket: /a\nstatedir: /x\n", want: `fairway.yaml:2: key "statedir": unknown; nearest is "state-dir"`},
		{file: "metrics-address: :9\n", want: `fairway.yaml:1: metrics-address: ":9": want IP:PORT, e.g. 127.0.0.1:9481 or [::1]:9481`},
		{file: "metrics-address: localhost:9\n", want: `metrics-address: "localhost:9": want IP:PORT`},
		{file: "metrics: :9\n", want: `fairway.yaml:1: key "metrics": unknown`},
		{file: "config: /x\n", want: `key "config": unknown`},
		{file: "log-level: info\nlog-level: debug\n", want: `fairway.yaml:2: key "log-level": given twice`},
		{file: "# a remark\nlog-level: loud\n", want: `fairway.yaml:2: log-level: "loud": want error, warning, info, debug or trace`},
		{file: "firewall: nft\n", want: `firewall: "nft": want auto, nftables or iptables`},
		{file: "ip-forward: maybe\n", want: `ip-forward: "maybe": want true or false`},
		{file: "socket: run/fairway.sock\n", want: `socket: "run/fairway.sock": want an absolute path`},
		{file: "state-dir: \"\"\n", want: `state-dir: "": want an absolute path`},
		{file: "socket: /" + strings.Repeat("a", 107) + "\n", want: `want a path of at most 107 bytes`},
		{file: "state-dir: {a: b}\n", want: `fairway.yaml:1: state-dir: want a plain value or a list`},
		{file: "- a\n", want: `fairway.yaml:1: want lines of the form "key: value"`},
		{file: "a: [\n", want: `fairway.yaml: yaml: line 1`},
		{file: "log-level: info\n---\nlog-level: info\n", want: `want a single document`},
		{file: "mark-mask: 0\n", want: `mark-mask: "0": want a number of 32 bits with at least two set, e.g. 0x30000000`},
		{file: "mark-mask: 0x100\n", want: `mark-mask: "0x100": want a number of 32 bits with at least two set, e.g. 0x30000000`},
		{env: env("FAIRWAY_RULE_PRIORITY", "0"), want: `environment FAIRWAY_RULE_PRIORITY="0": want a number from 256 to 32763`},
		{env: env("FAIRWAY_FIREWALL", "pf"), want: `environment FAIRWAY_FIREWALL="pf": want auto, nftables or iptables`},
		{env: env("FAIRWAY_DEFAULT_ADDRESS_POOL", "10.0.0.0/8"), want: "want base=CIDR,size=N"},
		{env: env("FAIRWAY_DEFAULT_ADDRESS_POOL", "base=10.0.0.0/8"), want: "want base=CIDR,size=N"},
		{env: env("FAIRWAY_DEFAULT_ADDRESS_POOL", "base=10.0.0.0/8,size=24,size=25"), want: "want base=CIDR,size=N"},
		{env: env("FAIRWAY_DEFAULT_ADDRESS_POOL", "base=10.0.0.0/8,size=33"), want: "size=33: want 8 to 32 for 10.0.0.0/8"},
		{env: env("FAIRWAY_DEFAULT_ADDRESS_POOL", "base=10.0.0.0/16,size=8"), want: "size=8: want 16 to 32 for 10.0.0.0/16"},
	}
	for _, tt := range tests {
		_, err := readAll(t, nil, tt.env, tt.file)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, errUsage) {
			t.Errorf("file %q, environment %v: error %v, want usage with %q", tt.file, tt.env, err, tt.want)
		}
	}
}

func TestStrangeVariables(t *testing.T) {
	var c config
	fs := pflag.NewFlagSet("daemon", pflag.ContinueOnError)
	c.flags(fs)
	fs.String("config", "", "")
	got := strangeVariables(fs, []string{"PATH=/bin", "FAIRWAY_STATE_DIR=/x", "FAIRWAY_STATEDIR=/x", "FAIRWAY_CONFIG=/y"})
	want := []string{`environment FAIRWAY_STATEDIR: unknown; nearest is "FAIRWAY_STATE_DIR"`}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("state-dir: /x\ndefault-address-pool: [a, b]\n")
	f.Add("a: &x b\nc: *x\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSettings("f", strings.NewReader(text))
		if (err != nil) == (s != nil) && err != nil {
			t.Errorf("both settings %v and error %v", s, err)
		}
		if err != nil && !errors.Is(err, errUsage) {
			t.Errorf("error %v is not a usage error", err)
		}
	})
}

func FuzzPool(f *testing.F) {
	f.Add("base=10.0.0.0/8,size=24")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePool(s)
		if err != nil {
			return
		}
		again, err := parsePool((&poolsValue{p: &[]addressPool{p}}).String())
		if err != nil || again != p || p.Size < p.Base.Bits() || p.Base != p.Base.Masked() {
			t.Errorf("%q: %+v, again %+v, %v", s, p, again, err)
		}
	})
}
