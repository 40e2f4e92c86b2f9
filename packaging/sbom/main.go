// Command sbom prints what is in a Go binary as a CycloneDX 1.6 document: the modules that the linker took in, as the binary itself tells (go version -m). It is a
// module of its own, so that who imports trustpool does not inherit what it needs.
//
//	SOURCE_DATE_EPOCH=SECONDS sbom --version VERSION BINARY
//
// The same binary gives the same bytes: the time is SOURCE_DATE_EPOCH, and the serial number comes from the binary's digest.
package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

func main() {
	if err := run(os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run prints the document for the binary that args name.
func run(args []string, epoch string, stdout io.Writer) error {
	flags := flag.NewFlagSet("sbom", flag.ContinueOnError)
	version := flags.String("version", "", "the version of the package")

	if err := flags.Parse(args); err != nil {
		return err
	}

	if flags.NArg() != 1 || *version == "" {
		return fmt.Errorf("usage: sbom --version VERSION BINARY")
	}

	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return fmt.Errorf("reading SOURCE_DATE_EPOCH: %w", err)
	}

	document, err := describe(flags.Arg(0), *version, time.Unix(seconds, 0).UTC())
	if err != nil {
		return err
	}

	return cyclonedx.NewBOMEncoder(stdout, cyclonedx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(document, cyclonedx.SpecVersion1_6)
}

// describe puts the document together.
func describe(binary, version string, made time.Time) (*cyclonedx.BOM, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}

	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("reading what %s was built from: %w", binary, err)
	}

	digest := sha256.Sum256(content)
	program := component(cyclonedx.ComponentTypeApplication, info.Main.Path, version)
	program.Name = filepath.Base(binary)
	program.Description = path.Clean(info.Path)
	program.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(digest[:])}}
	program.Licenses = &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "Apache-2.0"}}}
	program.Properties = properties(info.Settings)

	components := modules(info)
	refs := make([]string, 0, len(components))

	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}

	document := cyclonedx.NewBOM()
	document.SerialNumber = serial(digest)
	document.Metadata = &cyclonedx.Metadata{Timestamp: made.Format(time.RFC3339), Component: &program}
	document.Components = &components
	document.Dependencies = &[]cyclonedx.Dependency{{Ref: program.BOMRef, Dependencies: &refs}}

	return document, nil
}

// modules lists what was linked in, the standard library among it, which has weaknesses of its own.
func modules(info *debug.BuildInfo) []cyclonedx.Component {
	components := []cyclonedx.Component{component(cyclonedx.ComponentTypeLibrary, "std", info.GoVersion[len("go"):])}

	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}

		components = append(components, component(cyclonedx.ComponentTypeLibrary, dep.Path, dep.Version))
	}

	slices.SortFunc(components, func(a, b cyclonedx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })

	return components
}

// component names a module as package URLs do (purl-spec, type golang).
func component(kind cyclonedx.ComponentType, name, version string) cyclonedx.Component {
	url := "pkg:golang/" + name + "@" + version

	return cyclonedx.Component{BOMRef: url, Type: kind, Name: name, Version: version, PackageURL: url}
}

// properties tell how the binary was built: target, flags, commit.
func properties(settings []debug.BuildSetting) *[]cyclonedx.Property {
	var list []cyclonedx.Property

	for _, s := range settings {
		if s.Value != "" {
			list = append(list, cyclonedx.Property{Name: "build:" + s.Key, Value: s.Value})
		}
	}

	return &list
}

// serial is a UUID made from the digest: version 8, which is for values of one's own making (RFC 9562, 5.8).
func serial(digest [sha256.Size]byte) string {
	id := digest[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80

	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16])
}
