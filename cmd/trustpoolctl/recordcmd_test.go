package main

import (
	"encoding/json"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/trustpool/trustpool/verifier"
)

// recordCommands are those that make files of a node's record, or of a request for a certificate.
func recordCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"inventory": writeInventory,
		"akname":    writeAKName,
		"akpem":     writeAKPEM,
		"otherek":   writeOtherEK,
	}
}

// readRecord reads the record that is the second argument.
func readRecord(ts *testscript.TestScript, args []string) verifier.NodeRecord {
	if len(args) < 2 {
		ts.Fatalf("usage: COMMAND FILE RECORD [NAME]")
	}
	record, err := verifier.ParseNodeRecord([]byte(ts.ReadFile(args[1])))
	ts.Check(err)
	return record
}

// writeInventory writes an inventory in which the record's EK is that of NAME.
func writeInventory(ts *testscript.TestScript, _ bool, args []string) {
	record := readRecord(ts, args)
	text := "node,ek_name,ek_serial,ek_issuer\n" + args[2] + "," + record.EK.Name.String() + ",,\n"
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// writeAKName writes a refuse list of the record's AK.
func writeAKName(ts *testscript.TestScript, _ bool, args []string) {
	record := readRecord(ts, args)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(record.AKs[0].Name.String()+" # stolen\n"), 0o600))
}

// writeAKPEM writes the key of a request for a certificate.
func writeAKPEM(ts *testscript.TestScript, _ bool, args []string) {
	var request akRequest
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &request))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(request.AKPublicPEM), 0o600))
}

// writeOtherEK writes a record whose EK is another key.
func writeOtherEK(ts *testscript.TestScript, _ bool, args []string) {
	record := readRecord(ts, args)
	record.EK = verifier.EKRecord{Name: record.AKs[0].Name, Public: record.AKs[0].Public}
	data, err := record.Marshal()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}
