package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
)

// The plugin's config names the daemon's settings, all of them but the sockets
// that dockerd chooses, and none has a value: an unset one is the file's.
func TestPluginConfigFitsTheDaemon(t *testing.T) {
	text, err := os.ReadFile("../../plugin.json")
	if err != nil {
		t.Fatal(err)
	}
	var plugin struct {
		Entrypoint []string
		Interface  struct {
			Types  []string
			Socket string
		}
		Network struct{ Type string }
		PidHost bool
		Env     []struct {
			Name, Description string
			Settable          []string
			Value             *string
		}
	}
	if err := json.Unmarshal(text, &plugin); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/fairway", newManagedCommand().Name()}; !slices.Equal(plugin.Entrypoint, want) {
		t.Errorf("entrypoint %q, want %q", plugin.Entrypoint, want)
	}
	if plugin.Interface.Socket != filepath.Base(managedSocket) || !plugin.PidHost || plugin.Network.Type != "host" {
		t.Errorf("interface %+v, pidhost %v, network %q", plugin.Interface, plugin.PidHost, plugin.Network.Type)
	}
	if want := []string{"docker.networkdriver/1.0", "docker.ipamdriver/1.0"}; !slices.Equal(plugin.Interface.Types, want) {
		t.Errorf("types %q, want %q", plugin.Interface.Types, want)
	}
	fs := pflag.NewFlagSet("daemon", pflag.ContinueOnError)
	new(config).flags(fs)
	want := map[string]*pflag.Flag{"FAIRWAY_CONFIG": {DefValue: defaultConfigFile}}
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name != "socket" && f.Name != "replace-plugin" {
			want[envName(f.Name)] = f
		}
	})
	for _, e := range plugin.Env {
		f := want[e.Name]
		if f == nil || e.Value != nil || !slices.Equal(e.Settable, []string{"value"}) {
			t.Errorf("env %+v: want a setting of the daemon, settable, without a value", e)
			continue
		}
		if f.DefValue != "" && !strings.Contains(e.Description, "("+f.DefValue+")") {
			t.Errorf("env %s: description %q does not tell the default %q", e.Name, e.Description, f.DefValue)
		}
		delete(want, e.Name)
	}
	for name := range want {
		t.Errorf("env %s is missing", name)
	}
}

func TestSplitLog(t *testing.T) {
	var out, err bytes.Buffer
	log := newLog(&err, config{LogLevel: "info"}, false)
	splitLog(log, &out)
	for _, level := range []logrus.Level{logrus.ErrorLevel, logrus.WarnLevel, logrus.InfoLevel, logrus.DebugLevel} {
		log.Log(level, "at "+level.String())
	}
	for _, c := range []struct{ got, want, not string }{
		{err.String(), "at error,at warning", "at info"},
		{out.String(), "at info", "at error,at warning,at debug"},
	} {
		for _, w := range strings.Split(c.want, ",") {
			if strings.Count(c.got, w) != 1 {
				t.Errorf("%q: want %q once", c.got, w)
			}
		}
		for _, n := range strings.Split(c.not, ",") {
			if strings.Contains(c.got, n) {
				t.Errorf("%q: want no %q", c.got, n)
			}
		}
	}
}
