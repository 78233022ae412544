package gate

import (
	"context"
	"fmt"
	"strings"

	"github.com/leastwise/leastwise/processor/identity"
)

// Graph is the directory over the identity graph. Read gives the graph as it is now; its error is that of a server that
// does not answer.
type Graph struct {
	Read func(ctx context.Context) (*identity.Graph, error)
}

// Name implements Directory.
func (Graph) Name() string { return "identity graph" }

// Claims implements Directory: the agents, owners and systems of record that links lead to, each with its chain.
func (g Graph) Claims(ctx context.Context, id Identity) ([]Claim, error) {
	graph, err := g.Read(ctx)
	if err != nil {
		return nil, err
	}
	found := graph.Resolve(identity.Query{Principal: id.Key})
	var claims []Claim
	for _, owner := range found.Owners {
		claims = append(claims, Claim{Owner: lastPart(owner), Evidence: chain(graph, id.Key, owner)})
	}
	for _, system := range found.Systems {
		claims = append(claims, Claim{System: lastPart(system), Evidence: chain(graph, id.Key, system)})
	}
	for _, agent := range found.Agents {
		claims = append(claims, Claim{Agent: lastPart(agent), Evidence: chain(graph, id.Key, agent)})
	}
	return claims, nil
}

// lastPart is the id of a node of the catalog, which holds no slash.
func lastPart(node string) string { return node[strings.LastIndexByte(node, '/')+1:] }

// maxSteps of a chain are told; `leastwise who` shows all.
const maxSteps = 4

func chain(g *identity.Graph, from, to string) string {
	steps := g.Chain(from, to, 0)
	texts := make([]string, 0, maxSteps+1)
	for i, step := range steps {
		if i == maxSteps {
			texts = append(texts, fmt.Sprintf("and %d links more", len(steps)-i))
			break
		}
		texts = append(texts, shorten(step.Evidence))
	}
	return "identity graph: " + strings.Join(texts, "; ")
}
