package main

import (
	"os"

	"fairway/admin"

	"github.com/spf13/pflag"
)

// A source is what the daemon's settings are read from, and read again at a
// reload: its command line and environment stay, the file may change.
type source struct {
	given     map[string]string // of the command line, by flag
	file      string
	mustExist bool // the file was named
	env       func(string) (string, bool)
}

// newSource returns the source of a command line that was parsed into fs, which
// has the flag --config beside the settings'.
func newSource(fs *pflag.FlagSet) source {
	s := source{given: map[string]string{}, env: os.LookupEnv}
	fs.Visit(func(f *pflag.Flag) { s.given[f.Name] = f.Value.String() })
	s.file, s.mustExist = fs.Lookup("config").Value.String(), fs.Changed("config")
	if v, ok := s.env(envName("config")); ok && v != "" && !s.mustExist {
		s.file, s.mustExist = v, true
	}
	return s
}

// configFlag declares the flag that names the file.
func configFlag(fs *pflag.FlagSet) {
	fs.String("config", defaultConfigFile, "`file` with settings; need not exist if this isn't given")
}

// read returns the settings as they are now, each with where it comes from.
func (s source) read() (config, []admin.Setting, error) {
	var cfg config
	fs := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	cfg.flags(fs)
	for name, value := range s.given {
		if f := fs.Lookup(name); f != nil {
			if err := fs.Set(name, value); err != nil {
				return cfg, nil, usagef("flag --%s=%q: %s", name, value, err)
			}
		}
	}
	origins, err := fillSettings(fs, s.env, s.file, s.mustExist)
	if err != nil {
		return cfg, nil, err
	}
	var all []admin.Setting
	fs.VisitAll(func(f *pflag.Flag) {
		all = append(all, admin.Setting{Name: f.Name, Value: f.Value.String(), Origin: origins[f.Name], Live: live(f.Name)})
	})
	return cfg, all, nil
}
