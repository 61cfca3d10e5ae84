package files

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"rollcall/handlers/export/files/s3test"
)

func TestABucketThatKeepsWhatIsDeletedIsTold(t *testing.T) {
	s, err := Open(t.Context(), Config{URL: s3test.Run(t).Bucket(t, "exports")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		status types.BucketVersioningStatus
		want   bool
	}{{"", false}, {types.BucketVersioningStatusEnabled, true}, {types.BucketVersioningStatusSuspended, false}} {
		if c.status != "" {
			if _, err := s.uploads.client.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
				Bucket: aws.String("exports"), VersioningConfiguration: &types.VersioningConfiguration{Status: c.status},
			}); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.KeepsDeleted(t.Context()); err != nil || got != c.want {
			t.Errorf("with the versioning %q it is %t, %v", c.status, got, err)
		}
	}
}

func TestAFolderKeepsNothingThatIsDeleted(t *testing.T) {
	s, err := Open(t.Context(), Config{URL: "file://" + t.TempDir(), Secret: make([]byte, MinSecretBytes), BaseURL: "http://127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if keeps, err := s.KeepsDeleted(t.Context()); keeps || err != nil {
		t.Errorf("it is %t, %v", keeps, err)
	}
}
