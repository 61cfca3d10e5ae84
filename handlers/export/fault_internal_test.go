package export

import (
	"errors"
	"testing"
)

func TestPeopleAreToldNothingOfTheInsideOfTheService(t *testing.T) {
	if told := forPeople(errors.New("secret.place is broken")); told != reasonInternal {
		t.Errorf("they are told %q", told)
	}
}
