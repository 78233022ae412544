package awsiam

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// moto starts the AWS mock server that tools install, and gives its URL.
func moto(t *testing.T) string {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(home, ".cache/leastwise/moto/bin/moto_server")
	if cache := os.Getenv("XDG_CACHE_HOME"); cache != "" {
		binary = filepath.Join(cache, "leastwise/moto/bin/moto_server")
	}
	if _, err := os.Stat(binary); err != nil {
		t.Skip("moto_server is not installed at " + binary)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(address)
	server := exec.Command(binary, "-H", "127.0.0.1", "-p", port)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	deadline := time.Now().Add(time.Minute)
	for {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			conn.Close()
			return "http://" + address
		}
		if time.Now().After(deadline) {
			t.Fatalf("moto_server does not listen: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestMotoInventoryOfAnAccount(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "example")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	i, published, _ := inventory(t, Config{Endpoint: moto(t)})
	ctx, client := t.Context(), i.client
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p := func(s string) *string { return &s }
	document := func(action string) *string {
		return p(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "` + action + `", "Resource": "*"}]}`)
	}
	trust := p(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}`)
	made, err := client.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: p("ingest"), PolicyDocument: document("s3:*")})
	must(made, err)
	must(client.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: made.Policy.Arn, PolicyDocument: document("s3:GetObject"), SetAsDefault: true}))
	must(client.CreateRole(ctx, &iam.CreateRoleInput{RoleName: p("loader"), Path: p("/agents/"), AssumeRolePolicyDocument: trust, PermissionsBoundary: made.Policy.Arn}))
	must(client.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: p("loader"), PolicyArn: made.Policy.Arn}))
	must(client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: p("loader"), PolicyName: p("own"), PolicyDocument: document("sqs:SendMessage")}))
	must(client.CreateGroup(ctx, &iam.CreateGroupInput{GroupName: p("readers")}))
	must(client.PutGroupPolicy(ctx, &iam.PutGroupPolicyInput{GroupName: p("readers"), PolicyName: p("list"), PolicyDocument: document("s3:ListBucket")}))
	must(client.CreateUser(ctx, &iam.CreateUserInput{UserName: p("alice")}))
	must(client.AddUserToGroup(ctx, &iam.AddUserToGroupInput{GroupName: p("readers"), UserName: p("alice")}))

	must(nil, i.Round(ctx))
	got := map[string]string{}
	for _, grant := range published.said {
		got[strings.TrimPrefix(grant.Id, "cloudtrail/default/")] = say(grant)
	}
	account := strings.Split(*made.Policy.Arn, ":")[4]
	for id, want := range map[string]string{
		"policy/arn:aws:iam::A:policy/ingest":          "deny=false if=false [s3:GetObject] not[] on [*] not[]",
		"policy/arn:aws:iam::A:role/agents/loader#own": "deny=false if=false [sqs:SendMessage] not[] on [*] not[]",
		"principal/arn:aws:iam::A:role/agents/loader":  "policy/arn:aws:iam::A:policy/ingest; policy/arn:aws:iam::A:role/agents/loader#own; within policy/arn:aws:iam::A:policy/ingest",
		"principal/arn:aws:iam::A:user/alice":          "policy/arn:aws:iam::A:group/readers#list",
		"policy/arn:aws:iam::A:group/readers#list":     "deny=false if=false [s3:ListBucket] not[] on [*] not[]",
	} {
		id, want = strings.ReplaceAll(id, "::A:", "::"+account+":"), strings.ReplaceAll(want, "::A:", "::"+account+":")
		if got[id] != want {
			t.Errorf("%s:\n got %s\nwant %s", id, got[id], want)
		}
	}
	published.take()
	must(client.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: p("loader"), PolicyName: p("own")}))
	must(nil, i.Round(ctx))
	again := published.take()
	if len(again) != 2 || !slices.ContainsFunc(again, func(s string) bool {
		return strings.HasPrefix(s, "deleted policy/") && strings.HasSuffix(s, "loader#own")
	}) {
		t.Fatalf("the second round published %q, want the role and that its policy is gone", again)
	}
}
