// Command provenance prints what the files of a release were built from, as an in-toto Statement v1 with a SLSA provenance predicate v1. It is a module of its own, so that who imports
// trustpool does not inherit what it needs.
//
//	provenance --version VERSION --commit COMMIT --archs "ARCH ..." --builder URI SHA256SUMS
//
// It says nothing of when and where: the same commit gives the same bytes. It is worth what its signature is worth, which is not its business.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"

	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	repository    = "git+https://github.com/trustpool/trustpool"
	buildType     = "https://github.com/trustpool/trustpool/blob/main/docs/releases.md#how-a-release-is-built"
	predicateType = "https://slsa.dev/provenance/v1"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run prints the statement about the files that args name.
func run(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("provenance", flag.ContinueOnError)
	version := flags.String("version", "", "the version of the release")
	commit := flags.String("commit", "", "the commit, 40 hexadecimal digits")
	archs := flags.String("archs", "", "the architectures that were built")
	builder := flags.String("builder", "", "a URI for who built it")

	if err := flags.Parse(args); err != nil {
		return err
	}

	if flags.NArg() != 1 || *version == "" || *archs == "" || *builder == "" || !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(*commit) {
		return fmt.Errorf("usage: provenance --version VERSION --commit COMMIT --archs ARCHS --builder URI SHA256SUMS")
	}

	sums, err := os.ReadFile(flags.Arg(0))
	if err != nil {
		return err
	}

	subjects, err := readSums(string(sums))
	if err != nil {
		return fmt.Errorf("reading %s: %w", flags.Arg(0), err)
	}

	statement, err := describe(subjects, *version, *commit, *archs, *builder)
	if err != nil {
		return err
	}

	// protojson varies its spaces on purpose.
	plain, err := protojson.Marshal(statement)
	if err != nil {
		return err
	}

	var text bytes.Buffer
	if err := json.Indent(&text, plain, "", "  "); err != nil {
		return err
	}

	_, err = fmt.Fprintln(stdout, text.String())

	return err
}

// readSums reads what sha256sum wrote.
func readSums(text string) ([]*intoto.ResourceDescriptor, error) {
	var subjects []*intoto.ResourceDescriptor

	for line := range strings.Lines(text) {
		match := regexp.MustCompile(`^([0-9a-f]{64})  (?:\./)?(\S+)\n$`).FindStringSubmatch(line)
		if match == nil {
			return nil, fmt.Errorf("%q is no line of sha256sum", line)
		}

		subjects = append(subjects, &intoto.ResourceDescriptor{Name: match[2], Digest: map[string]string{"sha256": match[1]}})
	}

	if len(subjects) == 0 {
		return nil, fmt.Errorf("it names no file")
	}

	return subjects, nil
}

// describe puts the statement together. Its external parameters are all that whoever builds again has to give: SLSA provenance v1 wants them complete.
func describe(subjects []*intoto.ResourceDescriptor, version, commit, archs, builder string) (*intoto.Statement, error) {
	parameters, err := structpb.NewStruct(map[string]any{"version": version, "command": "make release", "ARCHS": archs})
	if err != nil {
		return nil, err
	}

	predicate := &provenance.Provenance{
		BuildDefinition: &provenance.BuildDefinition{
			BuildType:          buildType,
			ExternalParameters: parameters,
			ResolvedDependencies: []*intoto.ResourceDescriptor{
				{Uri: repository + "@" + commit, Digest: map[string]string{"gitCommit": commit}},
			},
		},
		RunDetails: &provenance.RunDetails{Builder: &provenance.Builder{Id: builder, Version: map[string]string{"go": runtime.Version()}}},
	}
	if err := predicate.Validate(); err != nil {
		return nil, err
	}

	plain, err := protojson.Marshal(predicate)
	if err != nil {
		return nil, err
	}

	var asStruct structpb.Struct
	if err := protojson.Unmarshal(plain, &asStruct); err != nil {
		return nil, err
	}

	statement := &intoto.Statement{Type: intoto.StatementTypeUri, Subject: subjects, PredicateType: predicateType, Predicate: &asStruct}

	return statement, statement.Validate()
}
