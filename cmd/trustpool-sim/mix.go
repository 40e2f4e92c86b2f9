package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/trustpool/trustpool/tpmsim"
)

// parseMix reads SCENARIO=N,... (a scenario alone is one node) and returns the scenario of each node: trusted ones come first.
func parseMix(text string, nodes int) ([]tpmsim.Scenario, error) {
	var others []tpmsim.Scenario

	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}

		name, number, counted := strings.Cut(part, "=")

		scenario, err := tpmsim.ParseScenario(name)
		if err != nil {
			return nil, err
		}

		count := 1
		if counted {
			if count, err = strconv.Atoi(number); err != nil || count < 0 || count > maxNodes {
				return nil, fmt.Errorf("%.32q is no number of nodes, write SCENARIO=N", number)
			}
		}

		for range count {
			others = append(others, scenario)
		}
	}

	if len(others) > nodes {
		return nil, fmt.Errorf("%d nodes are not enough for a mix of %d, raise --nodes", nodes, len(others))
	}

	if nodes < 0 || nodes > maxNodes {
		return nil, errors.New("there are no such nodes")
	}

	all := make([]tpmsim.Scenario, nodes)
	for i := range all {
		all[i] = tpmsim.Trusted
	}

	copy(all[nodes-len(others):], others)

	return all, nil
}

// scenarioNames lists what a node can boot into.
func scenarioNames() string {
	var names []string
	for _, s := range tpmsim.Scenarios() {
		names = append(names, string(s))
	}

	return strings.Join(names, ", ")
}
