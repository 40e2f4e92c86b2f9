package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/trustpool/trustpool/agent"
	"github.com/trustpool/trustpool/cmd/internal/daemon"
	agentv1 "github.com/trustpool/trustpool/proto/trustpool/agent/v1"
)

func identityCommand() *cobra.Command {
	var configPath string

	command := &cobra.Command{
		Use:   "identity",
		Short: "Show and replace this node's keys",
		Long: `identity shows and replaces the keys by which this node is known. Its subcommands act through the running daemon's unix socket, for which they need
to be root or the daemon's own user; if no daemon runs, they use the TPM themselves. If a daemon runs that has no listen.unix in its config, they stop: a TPM
has one owner.`,
		Args: usageArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.PersistentFlags().StringVar(&configPath, "config", "/etc/trustpool-agent/agent.yaml", "configuration `file`")
	command.AddCommand(identityShow(&configPath), identityRotate(&configPath), identityCommit(&configPath), identityReprovision(&configPath), identityTLSRequest(&configPath))

	for _, sub := range append(command.Commands(), command) {
		sub.SilenceUsage, sub.SilenceErrors = true, true
	}

	return command
}

func identityShow(configPath *string) *cobra.Command {
	var asJSON bool

	command := &cobra.Command{
		Use:     "show",
		Short:   "Show the endorsement and attestation keys",
		Example: "  trustpool-agent identity show --json",
		Args:    usageArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withNode(cmd.Context(), *configPath, func(ctx context.Context, node agentv1.EnrollmentServiceClient) error {
				nonce := make([]byte, 32)
				_, _ = rand.Read(nonce) // never fails

				identity, err := node.GetIdentity(ctx, &agentv1.GetIdentityRequest{Nonce: nonce})
				if err != nil {
					return err
				}

				return showIdentity(cmd.OutOrStdout(), identity, asJSON)
			})
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print JSON")

	return command
}

// shownKey is a key as `identity show --json` prints it.
type shownKey struct {
	Kind              string `json:"kind"` // ek, ak, pending_ak or tls
	Name              string `json:"name,omitempty"`
	Generation        uint32 `json:"generation,omitempty"`
	Source            string `json:"source,omitempty"`
	CertificateSource string `json:"certificate_source,omitempty"`
	HasCertificate    bool   `json:"has_certificate"`
	Detail            string `json:"detail,omitempty"`
}

func showIdentity(out io.Writer, identity *agentv1.GetIdentityResponse, asJSON bool) error {
	var keys []shownKey

	for _, ek := range identity.GetEndorsementKeys() {
		keys = append(keys, shownKey{
			Kind: "ek", Name: ekName(ek.GetPublic()), Source: ek.GetKeySource(), CertificateSource: ek.GetCertificateSource(),
			HasCertificate: len(ek.GetCertificate()) > 0, Detail: ek.GetDetail(),
		})
	}

	for _, ak := range identity.GetAttestationKeys() {
		kind := "ak"
		if ak.GetPending() {
			kind = "pending_ak"
		}

		keys = append(keys, shownKey{Kind: kind, Name: hex.EncodeToString(ak.GetName()), Generation: ak.GetGeneration(), HasCertificate: len(ak.GetCertificate()) > 0})
	}

	if key := identity.GetTlsKey(); key != nil {
		keys = append(keys, shownKey{Kind: "tls", Source: "TPM"})
	}

	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")

		return encoder.Encode(map[string]any{"keys": keys, "host_names": identity.GetHostNames(), "smbios_uuid": identity.GetSmbiosUuid()})
	}

	for _, key := range keys {
		fmt.Fprintln(out, key.line())
	}

	return nil
}

// ekName returns the Name of a key in hex (TPM 2.0 Part 1, 16), as an inventory has it; empty if there is none.
func ekName(public []byte) string {
	parsed, err := tpm2.Unmarshal[tpm2.TPMTPublic](public)
	if err != nil {
		return ""
	}

	name, err := tpm2.ObjectName(parsed)
	if err != nil {
		return ""
	}

	return hex.EncodeToString(name.Buffer)
}

// line describes a key for people.
func (k shownKey) line() string {
	certificate := "no certificate"
	if k.HasCertificate {
		certificate = strings.TrimSpace("certificate " + k.CertificateSource)
	}

	switch k.Kind {
	case "ek":
		return strings.TrimSuffix(fmt.Sprintf("endorsement key (%s): %s, %s; %s", k.Source, cmp.Or(k.Name, "no Name"), certificate, k.Detail), "; ")
	case "tls":
		return "TLS key, in the TPM"
	case "pending_ak":
		return fmt.Sprintf("attestation key %d, waiting for commit: %s, %s", k.Generation, k.Name, certificate)
	default:
		return fmt.Sprintf("attestation key %d: %s, %s", k.Generation, k.Name, certificate)
	}
}

func identityRotate(configPath *string) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate",
		Short: "Make the next attestation key beside the present one",
		Long: `rotate makes the next attestation key. The present one goes on signing until "identity commit"; before that, enrol the new key at the attestation server.
Asking again while a rotation is pending tells the same key.`,
		Example: "  trustpool-agent identity rotate",
		Args:    usageArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withNode(cmd.Context(), *configPath, func(ctx context.Context, node agentv1.EnrollmentServiceClient) error {
				response, err := node.RotateAK(ctx, &agentv1.RotateAKRequest{})
				if err != nil {
					return err
				}

				name := hex.EncodeToString(response.GetAkName())
				fmt.Fprintf(cmd.OutOrStdout(), "next attestation key: %s\nenrol it, then: trustpool-agent identity commit %s\n", name, name)

				return nil
			})
		},
	}
}

func identityCommit(configPath *string) *cobra.Command {
	return &cobra.Command{
		Use:     "commit AK-NAME",
		Short:   "Let the next attestation key take over",
		Long:    "commit ends a rotation: from now on the new key signs, and the old one is removed from its handle.",
		Example: "  trustpool-agent identity commit 000b6c51c941fe68...",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return daemon.UsageError{Err: errors.New("name the key that takes over, as identity rotate printed it")}
			}

			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := hex.DecodeString(args[0])
			if err != nil {
				return daemon.UsageError{Err: fmt.Errorf("%q is no key's name: %w", args[0], err)}
			}

			return withNode(cmd.Context(), *configPath, func(ctx context.Context, node agentv1.EnrollmentServiceClient) error {
				if _, err := node.CommitAK(ctx, &agentv1.CommitAKRequest{AkName: name}); err != nil {
					return err
				}

				fmt.Fprintln(cmd.OutOrStdout(), "committed")

				return nil
			})
		},
	}
}

func identityReprovision(configPath *string) *cobra.Command {
	var yes bool

	command := &cobra.Command{
		Use:   "reprovision",
		Short: "Take the attestation key that this TPM has, as on a new host",
		Long: `reprovision forgets which attestation key this node had and takes the one that its TPM has. It is the way out after the TPM or the mainboard was replaced, or
when the agent's record of its key is damaged. If the key turns out to be another one, every attestation server refuses the node until it is enrolled
again.`,
		Example: "  trustpool-agent identity reprovision",
		Args:    usageArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !yes {
				if err := confirm(cmd.InOrStdin(), cmd.ErrOrStderr()); err != nil {
					return err
				}
			}

			return withNode(cmd.Context(), *configPath, func(ctx context.Context, node agentv1.EnrollmentServiceClient) error {
				response, err := node.Reprovision(ctx, &agentv1.ReprovisionRequest{})
				if err != nil {
					return err
				}

				fmt.Fprintf(cmd.OutOrStdout(), "attestation key: %x\nenrol this node again wherever it was known by another one\n", response.GetAkName())

				return nil
			})
		},
	}
	command.Flags().BoolVar(&yes, "yes", false, "do not ask")

	return command
}

// confirm asks a person at a terminal.
func confirm(in io.Reader, out io.Writer) error {
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) { // #nosec G115 -- a file descriptor
		return daemon.UsageError{Err: errors.New("nobody is there to confirm; say --yes if this is what you want")}
	}

	fmt.Fprint(out, "This node may have to be enrolled again at every attestation server that knows it. Go on? [y/N] ")

	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "y") {
		return errors.New("nothing was changed")
	}

	return nil
}

// withNode calls the running daemon by its unix socket or, if there is none, an agent of its own on the TPM.
func withNode(ctx context.Context, configPath string, call func(context.Context, agentv1.EnrollmentServiceClient) error) error {
	config := agent.DefaultConfig()
	if err := daemon.LoadConfig(configPath, &config); err != nil {
		return plainly(err)
	}

	if socket := config.Listen.Unix; socket != "" {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()

			return plainly(callSocket(ctx, socket, call))
		}

		if errors.Is(err, fs.ErrPermission) {
			return plainly(err)
		}
	}

	if config.StateDir == "" {
		return daemon.UsageError{Err: errors.New("no daemon answers at listen.unix, and without state_dir nobody can tell whether one uses the TPM: set one of the two")}
	}

	return plainly(withOwnAgent(ctx, config, call))
}

// plainly leaves of a call's error what a person at the host can use.
func plainly(err error) error {
	if err == nil {
		return nil
	}

	denied := errors.Is(err, fs.ErrPermission)

	var answer interface{ GRPCStatus() *status.Status }
	if errors.As(err, &answer) {
		code, message := answer.GRPCStatus().Code(), answer.GRPCStatus().Message()
		err = errors.New(message)
		// Who may not open the TPM's device is told that it is not there.
		denied = denied || code == codes.PermissionDenied || code == codes.Unavailable && os.Geteuid() != 0
	}

	if denied {
		return fmt.Errorf("%w; run this as root or as the daemon's user", err)
	}

	return err
}

func callSocket(ctx context.Context, socket string, call func(context.Context, agentv1.EnrollmentServiceClient) error) error {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // all calls are over

	return call(ctx, agentv1.NewEnrollmentServiceClient(conn))
}

// withOwnAgent runs the agent for as long as the call takes, behind a socket that nobody else can reach.
func withOwnAgent(ctx context.Context, config agent.Config, call func(context.Context, agentv1.EnrollmentServiceClient) error) (err error) {
	dir, err := os.MkdirTemp("", "trustpool-agent-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	socket := filepath.Join(dir, "agent.sock")

	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}

	node, err := agent.New(config, agent.Deps{
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Version: daemon.Version(), Unix: listener,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	done := make(chan error, 1)
	go func() {
		err := node.Run(ctx)

		cancel()
		done <- err
	}()

	err = callSocket(ctx, socket, call)

	cancel()

	if ran := <-done; ran != nil {
		err = ran
	}

	if errors.Is(err, agent.ErrRunning) {
		return fmt.Errorf("%w: set listen.unix in its config and restart it, or stop it first", err)
	}

	return err
}
