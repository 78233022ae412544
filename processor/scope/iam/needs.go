package iam

import "strings"

// needs: calls whose permission, as the record names it, is no action of the list, and the actions that allow them.
var needs = map[string]string{
	"s3:getbucketaccelerateconfiguration": "s3:GetAccelerateConfiguration",
	"s3:putbucketaccelerateconfiguration": "s3:PutAccelerateConfiguration",
	"s3:getobjectlockconfiguration":       "s3:GetBucketObjectLockConfiguration",
	"s3:putobjectlockconfiguration":       "s3:PutBucketObjectLockConfiguration",
	"lambda:invokewithresponsestream":     "lambda:InvokeFunction",
	"bedrock:converse":                    "bedrock:InvokeModel",
	"bedrock:conversestream":              "bedrock:InvokeModelWithResponseStream",
}

// ActionOf gives the action that a call needs. A call names it, in the service's and not always in the list's spelling.
func ActionOf(call string) string {
	if found, ok := needs[strings.ToLower(call)]; ok {
		return found
	}
	return call
}
