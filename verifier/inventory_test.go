package verifier_test

import (
	"crypto/x509"
	"math/big"
	"strings"
	"testing"

	"github.com/trustpool/trustpool/verifier"
)

func TestAnInventoryNamesTheEKOrItsCertificate(t *testing.T) {
	t.Parallel()

	nonce := newNonce(t)
	root, stranger := newEKAuthority(t, "root", nil), newEKAuthority(t, "stranger", nil)
	id := softwareIdentity(t, nonce)
	name := verifier.Hex(nameOfKey(t, id.EKs[0].Public)).String()
	other := "000b" + strings.Repeat("ab", 32)
	id.EKs[0].Certificate = root.certify(t, id.EKs[0].Public, nil)
	foreign := softwareIdentity(t, nonce)
	foreign.EKs[0].Certificate = stranger.certify(t, foreign.EKs[0].Public, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0x1234) })

	for rule, test := range map[string]struct {
		lines string
		id    verifier.Identity
		want  []verifier.CheckName
	}{
		"by Name":                         {nodeName + "," + name + ",,", id, nil},
		"by Name in upper case":           {nodeName + "," + strings.ToUpper(name) + ",,", id, nil},
		"by serial number":                {nodeName + ",,1234,CN=root", id, nil},
		"by serial number with colons":    {nodeName + ",,00:12:34,CN=root", id, nil},
		"by both":                         {nodeName + "," + name + ",1234,CN=root", id, nil},
		"on the second of its lines":      {nodeName + "," + other + ",,\n" + nodeName + "," + name + ",,", id, nil},
		"beside others and remarks":       {"# rack 7\nnode2.example," + other + ",,\n" + nodeName + "," + name + ",,", id, nil},
		"another Name":                    {nodeName + "," + other + ",,", id, []verifier.CheckName{verifier.CheckEKBinding}},
		"another serial number":           {nodeName + ",,1235,CN=root", id, []verifier.CheckName{verifier.CheckEKBinding}},
		"another issuer":                  {nodeName + ",,1234,CN=other", id, []verifier.CheckName{verifier.CheckEKBinding}},
		"Name fits, serial does not":      {nodeName + "," + name + ",1235,CN=root", id, []verifier.CheckName{verifier.CheckEKBinding}},
		"serial fits, Name does not":      {nodeName + "," + other + ",1234,CN=root", id, []verifier.CheckName{verifier.CheckEKBinding}},
		"the EK of another node":          {"node2.example," + name + ",,", id, []verifier.CheckName{verifier.CheckEKBinding}},
		"no node at all":                  {"", id, []verifier.CheckName{verifier.CheckEKBinding}},
		"serial number by another CA":     {nodeName + ",,1234,CN=stranger", foreign, []verifier.CheckName{verifier.CheckEKChain}},
		"Name, certificate by a stranger": {nodeName + "," + name + ",,", foreign, []verifier.CheckName{verifier.CheckEKChain}},
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			policy := firstUse(nonce)
			policy.Binding, policy.Roots = verifier.BindingInventory, parseRoots(t, root.pem())
			policy.Inventory = parseInventory(t, "node,ek_name,ek_serial,ek_issuer\n"+test.lines+"\n")
			wantEnrollment(t, verifier.Enroll(test.id, policy), test.want...)
		})
	}
}

func TestParseInventoryTellsWhatIsWrong(t *testing.T) {
	t.Parallel()

	const head = "node,ek_name,ek_serial,ek_issuer\n"
	name := "000b" + strings.Repeat("ab", 32)
	for text, want := range map[string]string{
		"":                                            "its first line has to be",
		"name,ek\n":                                   "its first line has to be",
		head + "n," + name + "\n":                     "wrong number of fields",
		head + "N," + name + ",,\n":                   "entry 1: node: ",
		head + "-n," + name + ",,\n":                  "entry 1: node: ",
		head + "n,,,\n":                               "has neither ek_name nor ek_serial",
		head + "n,,12,\n":                             "go together",
		head + "n," + name + ",,CN=x\n":               "go together",
		head + "n,0b,,\n":                             "ek_name: is no Name",
		head + "n," + name + "x,,\n":                  "ek_name: is no Name",
		head + "n," + name + "ab,,\n":                 "ek_name: is no Name",
		head + "n,0004" + name[4:] + ",,\n":           "ek_name: is no Name",
		head + "n,,g,CN=x\n":                          "ek_serial: is no serial number",
		head + "n,," + name + ",CN=x\n":               "ek_serial: is no serial number",
		head + "n," + name + ",,\nm," + name + ",,\n": "entry 2: this EK is that of n already",
		head + "n,,12,CN=x\nm,,0:12,CN=x\n":           "entry 2: this EK is that of n already",
		head + "n,,,\nm,,,\n":                         "entry 2: ",
	} {
		if _, err := verifier.ParseInventory([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := verifier.ParseInventory(make([]byte, 64<<20+1)); err == nil {
		t.Error("an inventory without bounds was taken")
	}
}

func TestParseRefuseList(t *testing.T) {
	t.Parallel()

	name := "000b" + strings.Repeat("ab", 32)
	names, err := verifier.ParseRefuseList([]byte("# stolen\n\n " + name + " # node7\r\n" + strings.ToUpper(name)))
	if err != nil || len(names) != 2 || names[0].String() != name || names[1].String() != name {
		t.Errorf("got %v, %v", names, err)
	}
	long := "000c" + strings.Repeat("ab", 48) + "\n000d" + strings.Repeat("ab", 64)
	if names, err := verifier.ParseRefuseList([]byte(long)); err != nil || len(names) != 2 {
		t.Errorf("SHA-384 and SHA-512: got %v, %v", names, err)
	}
	for text, want := range map[string]string{
		name + "\nxy\n":            "line 2: is no Name",
		"0b00":                     "line 1: is no Name: 000b",
		"0b":                       "line 1: is no Name, write",
		strings.Repeat("ab", 67):   "line 1: is no Name",
		name + "ab":                "line 1: is no Name",
		name[:66]:                  "line 1: is no Name",
		"000c" + name[4:]:          "line 1: is no Name",
		"0004" + name[4:]:          "line 1: is no Name", // SHA-1: no AK that is taken has such a Name
		name[4:] + name[:4]:        "line 1: is no Name",
		strings.Repeat("a", 1<<17): "reading the refuse list",
	} {
		if names, err := verifier.ParseRefuseList([]byte(text)); err == nil || names != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %v, want %q", names, err, want)
		}
	}
	if _, err := verifier.ParseRefuseList(make([]byte, 16<<20+1)); err == nil {
		t.Error("a list without bounds was taken")
	}
}
