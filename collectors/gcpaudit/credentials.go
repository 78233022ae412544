package gcpaudit

import (
	"encoding/json"
	"fmt"
	"os"

	"google.golang.org/api/option"
)

// credentials of a file. Its type is read here and told to the client library, which does not take it from the file: of
// a file from elsewhere it could be one that sends secrets to an address of its maker's choice.
func credentials(path string) (option.ClientOption, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("credentials_file: %w", err)
	}
	var file struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(text, &file) != nil {
		return nil, fmt.Errorf("credentials_file: %s is not JSON", path)
	}
	switch kind := option.CredentialsType(file.Type); kind {
	case option.ServiceAccount, option.ImpersonatedServiceAccount, option.AuthorizedUser, option.ExternalAccount:
		return option.WithAuthCredentialsFile(kind, path), nil
	}
	return nil, fmt.Errorf("credentials_file: %s has a type that is not one of service_account, impersonated_service_account, authorized_user, external_account", path)
}
