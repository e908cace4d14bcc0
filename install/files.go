package install

import (
	"io/fs"
	"path"
	"slices"
	"strings"
)

// A File is one that a host gets.
type File struct {
	Path string // absolute
	Text []byte
	Mode fs.FileMode
	// Settings is for the administrator to change: it is never overwritten, and
	// stays until a purge.
	Settings bool
}

// A Layout says where files go.
type Layout struct {
	Program  string // the path of the program
	Units    string // directories from here on
	Catalog  string // of the journal's messages
	Default  string // of environment files
	Network  string // of systemd-networkd and udev
	Manager  string // of NetworkManager
	Sysctl   string
	Modules  string
	Man      string
	Bash     string
	Zsh      string
	Fish     string
	Share    string
	Settings string
}

// Packaged is where a distribution's package puts files, by FHS 3.0 and the
// programs' own manuals. What is the distribution's own, Zsh and Default, is
// Debian's.
func Packaged() Layout {
	return Layout{
		Program: "/usr/bin/fairway", Units: "/usr/lib/systemd/system", Catalog: "/usr/lib/systemd/catalog", Default: "/etc/default",
		Network: "/usr/lib/systemd/network", Manager: "/usr/lib/NetworkManager/conf.d",
		Sysctl: "/usr/lib/sysctl.d", Modules: "/usr/lib/modules-load.d", Man: "/usr/share/man",
		Bash: "/usr/share/bash-completion/completions", Zsh: "/usr/share/zsh/vendor-completions",
		Fish: "/usr/share/fish/vendor_completions.d", Share: "/usr/share/fairway", Settings: "/etc/fairway",
	}
}

// ByHand is where an administrator puts them, so that they are never a package's.
func ByHand() Layout {
	return Layout{
		Program: "/usr/local/bin/fairway", Units: "/etc/systemd/system", Catalog: "/usr/local/lib/systemd/catalog", Default: "/etc/default",
		Network: "/etc/systemd/network", Manager: "/etc/NetworkManager/conf.d",
		Sysctl: "/etc/sysctl.d", Modules: "/etc/modules-load.d", Man: "/usr/local/share/man",
		Bash: "/usr/local/share/bash-completion/completions", Zsh: "/usr/local/share/zsh/site-functions",
		Fish: "/usr/local/share/fish/vendor_completions.d", Share: "/usr/local/share/fairway", Settings: "/etc/fairway",
	}
}

// Parts are what the program makes itself.
type Parts struct {
	Man             map[string][]byte // by file name: "fairway.8"
	Bash, Zsh, Fish []byte            // completions
}

// Files returns all files but the program: those of the directory packaging, and
// parts. ReplacePlugin also serves the name of the managed plugin.
func (l Layout) Files(packaging fs.FS, parts Parts, replacePlugin bool) (files []File, err error) {
	add := func(to, from string) {
		text, e := fs.ReadFile(packaging, from)
		if e != nil {
			err = e
			return
		}
		files = append(files, File{Path: to, Text: text, Mode: 0o644})
	}
	add(l.Units+"/fairway.service", "systemd/fairway.service")
	add(l.Units+"/fairway.socket", "systemd/fairway.socket")
	add(l.Catalog+"/fairway.catalog", "systemd/fairway.catalog")
	add(l.Network+"/20-fairway.network", "host/networkd.network")
	add(l.Network+"/20-fairway.link", "host/udev.link")
	add(l.Manager+"/80-fairway.conf", "host/networkmanager.conf")
	add(l.Sysctl+"/80-fairway.conf", "host/sysctl.conf")
	add(l.Modules+"/fairway.conf", "host/modules.conf")
	add(l.Share+"/alerts.yaml", "monitoring/alerts.yaml")
	add(l.Share+"/grafana-dashboard.json", "monitoring/grafana-dashboard.json")
	if replacePlugin {
		add(l.replacement(), "systemd/replace-plugin.conf")
	}
	settings := len(files)
	add(l.Settings+"/fairway.yaml", "fairway.yaml")
	add(l.Default+"/fairway", "host/environment")
	if err != nil {
		return nil, err
	}
	for i := range files {
		files[i].Settings = i >= settings
		if strings.HasSuffix(files[i].Path, ".service") {
			files[i].Text = []byte(strings.ReplaceAll(string(files[i].Text), Packaged().Program, l.Program))
		}
	}
	for name, text := range parts.Man {
		files = append(files, File{Path: l.Man + "/man" + strings.TrimPrefix(path.Ext(name), ".") + "/" + name, Text: text, Mode: 0o644})
	}
	for to, text := range map[string][]byte{l.Bash + "/fairway": parts.Bash, l.Zsh + "/_fairway": parts.Zsh, l.Fish + "/fairway.fish": parts.Fish} {
		files = append(files, File{Path: to, Text: text, Mode: 0o644})
	}
	return files, nil
}

// replacement is the file that makes the service serve the plugin's name.
func (l Layout) replacement() string { return l.Units + "/fairway.socket.d/replace-plugin.conf" }

// NewUnits says whether the service, and its sockets, are among changed paths.
func (l Layout) NewUnits(changed []string) (service, sockets bool) {
	return slices.Contains(changed, l.Units+"/fairway.service"),
		slices.Contains(changed, l.Units+"/fairway.socket") || slices.Contains(changed, l.replacement())
}
