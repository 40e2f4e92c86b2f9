package tpmsim

// PID returns the process of the node's swtpm, which must be running.
func (n *Node) PID() int { return n.running.Load().cmd.Process.Pid }

// StateDir returns the node's state directory.
func (n *Node) StateDir() string { return n.dir.path }

// PolicyBSHA384 is the policy of the P-384 EK.
func PolicyBSHA384() []byte { return policyBSHA384() }
