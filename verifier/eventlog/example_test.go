package eventlog_test

import (
	"context"
	"fmt"
	"log"

	"github.com/trustpool/trustpool/tpmsim"
	"github.com/trustpool/trustpool/verifier/eventlog"
)

// Replay a log: what must the PCRs hold if it is true?
func ExampleLog_Replay() {
	node, err := tpmsim.Start(context.Background(), tpmsim.Options{}) // a simulated one
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	raw := node.EventLog() // as its agent would send it

	parsed, err := eventlog.Parse(raw)
	if err != nil {
		log.Fatal(err)
	}
	labels := parsed.Labels()
	for i, event := range parsed.Events {
		if event.PCR == 17 && event.Extended() {
			fmt.Println(event.PCR, event.Type, labels[i])
		}
	}
	replay := parsed.Replay(eventlog.AlgSHA256)
	for _, pcr := range []int{17, 18} {
		value, err := replay.Value(pcr)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %x... from %d events\n", pcr, value[:4], replay.PCRs[pcr].Events)
	}

	// Output:
	// 17 EVTYPE_HASH_START SINIT ACM
	// 17 EVTYPE_BIOSAC_REG_DATA registration of the BIOS ACM
	// 17 EVTYPE_CPU_SCRTM_STAT static root of trust
	// 17 EVTYPE_LCP_CONTROL_HASH launch control policy
	// 17 EVTYPE_LCP_DETAILS_HASH launch control policy, what matched
	// 17 EVTYPE_STM_HASH SMI transfer monitor
	// 17 EVTYPE_OSSINITDATA_CAP_HASH what the launch was asked for
	// 17 EVTYPE_MLE_HASH MLE (tboot or kernel)
	// 17 EVTYPE_NV_INFO_HASH TPM indices of the launch control policy
	// 17 EVTYPE_TB_MEASUREMENT tboot policy
	// 17 EVTYPE_TB_MEASUREMENT tboot module 0 (kernel or hypervisor)
	// 17 EVTYPE_TB_MEASUREMENT tboot module 1 (initrd, or a hypervisor's kernel)
	// 17 EVTYPE_TB_MEASUREMENT tboot module 2
	// 17 9e824ddd... from 13 events
	// 18 a7cd5d29... from 7 events
}
