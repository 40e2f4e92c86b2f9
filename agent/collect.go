package agent

import "github.com/trustpool/trustpool/agent/internal/logs"

// CollectDir is where Collect leaves its snapshot, and where an agent looks for it.
const CollectDir = "/run/trustpool-agent-collect"

// CollectGroup may read the snapshot: the group that the agent runs with.
const CollectGroup = "trustpool-agent"

// CollectOptions say what to collect and where to: Root ("/"), Output (CollectDir), Group (CollectGroup) and BootID (empty: the running kernel's).
type CollectOptions = logs.CollectOptions

// Collection is what Collect found, as manifest.json of the snapshot directory has it.
type Collection = logs.Manifest

// CollectedLog is one log of a Collection.
type CollectedLog = logs.ManifestLog

// Collect reads, once a boot and as root, what an agent without privileges can't: the event logs, the TXT registers and the machine's identity. An
// agent serves the snapshot that it leaves for as long as this boot lasts. A log that is absent or can't be read is no error; it is told in the Collection.
func Collect(o CollectOptions) (Collection, error) {
	return logs.Collect(o)
}
