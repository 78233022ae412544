package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leastwise/leastwise/console/contract"
)

type admitted struct {
	Body contract.AdmissionRequest
}

// admissions asks; nothing is issued and nothing kept.
func (s *server) admissions(api huma.API) {
	huma.Register(api, operation("admit", http.MethodPost, "/v1/admit", "Ask whether a credential may be issued", http.StatusUnprocessableEntity),
		func(ctx context.Context, in *admitted) (*answer[*contract.Admission], error) {
			out, err := s.Admission.Admit(ctx, &in.Body)
			if err != nil {
				return nil, s.problem(err)
			}
			return give(out), nil
		})
}
