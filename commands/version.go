package commands

import (
	"crypto/fips140"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/tlsctl/tlsctl/commands/internal/render"
)

type versionOptions struct {
	Output outputOptions
	short  bool // tlsctl --version: the first line alone
}

// versionReport is the JSON of "tlsctl version".
type versionReport struct {
	Version      string       `json:"version"`
	Commit       string       `json:"commit,omitempty"`
	Modified     bool         `json:"modified"` // built from a work tree with changes
	Go           string       `json:"go"`
	Platform     string       `json:"platform"`
	FIPS140      bool         `json:"fips140"` // the Go FIPS 140-3 module is in force
	Dependencies []dependency `json:"dependencies"`
}

type dependency struct {
	Path    string `json:"path"`
	Version string `json:"version"`
}

func newVersionCmd(e *env) *cli.Command {
	var o versionOptions
	return &cli.Command{
		Name: "version", Usage: "print version, commit, Go, FIPS state and dependencies", Category: "About",
		Description: examples("", "tlsctl version", "tlsctl version -o json"),
		Flags:       outputFlags(&o.Output, false),
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			return runVersion(e, o)
		},
	}
}

func runVersion(e *env, o versionOptions) error {
	r := buildVersion()
	return e.printer(o.Output).Emit(r, func(d *render.Doc) {
		d.Line("tlsctl %s", r.Version)
		if o.short {
			return
		}
		d.KV("commit", r.Commit)
		d.KV("go", r.Go)
		d.KV("platform", r.Platform)
		d.KV("fips140", r.FIPS140)
		t := d.Table("dependency", "version")
		for _, dep := range r.Dependencies {
			t.Row(dep.Path, dep.Version)
		}
	})
}

// buildVersion reads what the linker wrote. A binary built without modules knows only its Go version.
func buildVersion() versionReport {
	r := versionReport{
		Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		FIPS140: fips140.Enabled(), Dependencies: []dependency{},
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return r
	}
	if info.Main.Version != "" {
		r.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			r.Commit = s.Value
		case "vcs.modified":
			r.Modified = s.Value == "true"
		}
	}
	for _, d := range info.Deps {
		r.Dependencies = append(r.Dependencies, dependency{d.Path, d.Version})
	}
	return r
}
