package cloudtrail

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
)

// place3 is an object that a message announces.
type place3 struct{ bucket, key string }

// errEnvelope: the message is none that is known.
var errEnvelope = errors.New("the message is not a notification of S3, SNS, EventBridge or CloudTrail")

// announcement is any of the messages about new objects. They share no field that would mean two things.
type announcement struct {
	// SNS's envelope.
	Type    string
	Message *string
	// S3's notification, and its test.
	Records []struct {
		EventName string `json:"eventName"`
		S3        struct {
			Bucket struct {
				Name string `json:"name"`
			} `json:"bucket"`
			Object struct {
				Key string `json:"key"`
			} `json:"object"`
		} `json:"s3"`
	}
	Event string
	// CloudTrail's own, by way of SNS.
	Bucket string   `json:"s3Bucket"`
	Keys   []string `json:"s3ObjectKey"`
	// EventBridge's.
	DetailType string          `json:"detail-type"`
	Detail     json.RawMessage `json:"detail"`
}

// unwrap tells which objects a message announces: none for a test, or for an object removed. An event that EventBridge
// sends itself is given as it is.
func unwrap(message []byte) (objects []place3, event []byte, err error) {
	for range 4 { // SNS in SNS is possible
		if bytes.HasPrefix(message, []byte("CloudTrail validation message")) { // sent when SNS is switched on for a trail
			return nil, nil, nil
		}
		var a announcement
		if json.Unmarshal(message, &a) != nil {
			return nil, nil, errEnvelope
		}
		switch {
		case a.Message != nil && (a.Type == "Notification" || a.Type == ""):
			message = []byte(*a.Message)
			continue
		case a.Event == "s3:TestEvent":
			return nil, nil, nil
		case len(a.Records) > 0:
			for _, one := range a.Records {
				if one.S3.Bucket.Name == "" || one.S3.Object.Key == "" {
					return nil, nil, errEnvelope
				}
				if !strings.HasPrefix(one.EventName, "ObjectCreated:") && !strings.HasPrefix(one.EventName, "s3:ObjectCreated:") {
					continue
				}
				key, err := url.QueryUnescape(one.S3.Object.Key)
				if err != nil {
					return nil, nil, errEnvelope
				}
				objects = append(objects, place3{one.S3.Bucket.Name, key})
			}
			return objects, nil, nil
		case a.Bucket != "" && len(a.Keys) > 0:
			for _, key := range a.Keys {
				objects = append(objects, place3{a.Bucket, key})
			}
			return objects, nil, nil
		case a.DetailType != "" && len(a.Detail) > 0:
			return unwrapDetail(a.DetailType, a.Detail)
		}
		return nil, nil, errEnvelope
	}
	return nil, nil, errEnvelope
}

// unwrapDetail reads what EventBridge sends. It does not escape keys.
func unwrapDetail(kind string, detail []byte) ([]place3, []byte, error) {
	if strings.HasSuffix(kind, "via CloudTrail") || Recognise(detail) {
		return nil, detail, nil
	}
	var d struct {
		Bucket struct {
			Name string `json:"name"`
		} `json:"bucket"`
		Object struct {
			Key string `json:"key"`
		} `json:"object"`
	}
	if json.Unmarshal(detail, &d) != nil || d.Bucket.Name == "" || d.Object.Key == "" {
		return nil, nil, errEnvelope
	}
	if kind != "Object Created" {
		return nil, nil, nil
	}
	return []place3{{d.Bucket.Name, d.Object.Key}}, nil, nil
}
