package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/console"
	"github.com/trustpool/trustpool/cmd/trustpoolctl/internal/wording"
	"github.com/trustpool/trustpool/server/api"
	"github.com/trustpool/trustpool/verifier"
)

func newNodeShow(a asker) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a node: why it is trusted or not, since when, and by which keys",
		Long: `show tells what the server knows of a node, first of all why it is not trusted: of a measurement that is not known good, which event it was, what was expected and
what came.`,
		Example: `  trustpoolctl node show node1.example
  trustpoolctl node show node1.example --json`,
		ValidArgsFunction: a.completeNode,
	}
	return a.asks(cmd, cobra.ExactArgs(1), func(ctx context.Context, server *api.Client, args []string) error {
		node, err := server.Node(ctx, args[0])
		if err != nil {
			return err
		}
		return a.out.Print(node, newNodeView(&node, time.Now()).text)
	})
}

// nodeView is what show prints for people.
type nodeView struct {
	*api.Node
	now time.Time
	// record is nil if there is none that can be read.
	record *verifier.NodeRecord
}

func newNodeView(n *api.Node, now time.Time) *nodeView {
	v := &nodeView{Node: n, now: now}
	if record, err := verifier.ParseNodeRecord(n.Record); err == nil {
		v.record = &record
	}
	return v
}

func (v *nodeView) text(p *console.Page) {
	p.Line("%s %s: %s", shout(p, v.Verdict.Trust), console.Printable(v.Name), console.Printable(v.Verdict.Reason))
	whyText(p, &v.Verdict)
	if v.StateReason != "" && !strings.Contains(v.Verdict.Detail, v.StateReason) {
		p.Line("  %s: %s", console.Printable(v.State), console.Printable(v.StateReason))
	}
	v.verdictText(p)
	v.specText(p)
	v.keysText(p)
	v.contactText(p)
	v.suggestionText(p)
}

func (v *nodeView) verdictText(p *console.Page) {
	p.Line("")
	p.Line("%s", p.Head("Verdict"))
	p.Field("since", "%s", stamp(v.Verdict.ChangedAt, v.now))
	p.Field("quoted", "%s", stamp(v.Verdict.QuotedAt, v.now))
	p.Field("ends", "%s", stamp(v.Verdict.ExpiresAt, v.now))
	field(p, "known good", strings.Join(v.Verdict.Sets, ", "))
	if boot := v.Verdict.Boot; boot != nil {
		p.Field("boot", "reset %d, restart %d", boot.ResetCount, boot.RestartCount)
	}
	if id := v.Verdict.EvidenceID; id != 0 {
		p.Field("evidence", "%d (trustpoolctl node evidence %s %d)", id, console.Printable(v.Name), id)
	}
	p.Field("generation", "%d", v.Verdict.Generation)
}

func (v *nodeView) specText(p *console.Page) {
	p.Line("")
	p.Line("%s", p.Head("Node"))
	field(p, "aliases", strings.Join(v.Aliases, ", "))
	p.Field("pool", "%s", console.Printable(v.Pool))
	p.Field("state", "%s", console.Printable(v.State))
	p.Field("address", "%s", console.Printable(v.Address))
	field(p, "agent name", v.ServerName)
	var labels []string
	for _, key := range slices.Sorted(maps.Keys(v.Labels)) {
		labels = append(labels, key+"="+v.Labels[key])
	}
	field(p, "labels", strings.Join(labels, " "))
	p.Field("added", "%s by %s", stamp(v.AddedAt, v.now), console.Printable(v.AddedBy))
	p.Field("revision", "%d", v.Revision)
}

func (v *nodeView) keysText(p *console.Page) {
	p.Line("")
	p.Line("%s", p.Head("Keys"))
	if v.EK != nil {
		field(p, "EK expected", v.EK.Name)
		if v.EK.Serial != "" {
			p.Field("EK expected", "certificate %s of %s", console.Printable(v.EK.Serial), console.Printable(v.EK.Issuer))
		}
	}
	if v.record == nil {
		p.Field("enrolled", "not yet; it has to reach the level %s", console.Printable(v.Binding))
		return
	}
	p.Field("EK", "%s", v.record.EK.Name)
	for _, ak := range v.record.AKs {
		p.Field("AK", "%s", ak.Name)
	}
	p.Field("TPM", "%s", wording.TPM(v.record.TPM))
	p.Field("bound by", "%s", wording.Binding(v.record.Binding))
	p.Field("enrolled", "%s", stamp(v.record.EnrolledAt, v.now))
}

func (v *nodeView) contactText(p *console.Page) {
	if v.Contact == nil {
		return
	}
	p.Line("")
	p.Line("%s", p.Head("Challenges"))
	p.Field("last answer", "%s", stamp(v.Contact.ReachedAt, v.now))
	p.Field("next", "%s", stamp(v.Contact.DueAt, v.now))
	p.Field("so far", "%d good, %d bad, %d unanswered", v.Contact.GoodQuotes, v.Contact.BadQuotes, v.Contact.Unanswered)
	if v.Contact.Failures > 0 {
		p.Field("failing", "%s", p.Bad(fmt.Sprintf("%d in a row: %s", v.Contact.Failures, console.Printable(v.Contact.LastError))))
	}
}

// suggestionText shows what nothing proves.
func (v *nodeView) suggestionText(p *console.Page) {
	if v.Suggestions == nil {
		return
	}
	p.Line("")
	p.Line("%s: decides nothing; trustpoolctl node set --add-alias takes a name over", p.Head("What the node calls itself"))
	field(p, "host names", strings.Join(v.Suggestions.HostNames, ", "))
	field(p, "SMBIOS UUID", v.Suggestions.SMBIOSUUID)
	field(p, "SMBIOS serial", v.Suggestions.SMBIOSSerial)
}

// field writes what is not empty.
func field(p *console.Page, name, value string) {
	if value != "" {
		p.Field(name, "%s", console.Printable(value))
	}
}
