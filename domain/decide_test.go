package domain_test

import (
	"slices"
	"strings"
	"testing"

	"rollcall/domain"
)

func TestApplications(t *testing.T) {
	t.Run("a new application gets the default limit of administrators", func(t *testing.T) {
		given().when(domain.CreateApp{App: "chat", Name: "Chat", At: t0}).then(t, appCreated(10)...)
	})
	t.Run("a new application may set its own limit", func(t *testing.T) {
		given().when(domain.CreateApp{App: "chat", Name: "Chat", MaxAdmins: ptr(0), At: t0}).then(t, appCreated(0)...)
	})
	t.Run("a name that is taken is refused", func(t *testing.T) {
		given(appCreated(10)...).when(domain.CreateApp{App: "chat", At: t1}).thenRefused(t, domain.CodeAppExists)
	})
	for _, id := range []domain.AppID{"", "-chat", "Chat", "cha t", "한글", "a.b", domain.AppID(strings.Repeat("a", 33))} {
		t.Run("the name "+string(id)+" is refused", func(t *testing.T) {
			given().when(domain.CreateApp{App: id}).thenRefused(t, domain.CodeInvalid, "app")
		})
	}
	t.Run("every bad field is named", func(t *testing.T) {
		given().when(domain.CreateApp{App: "chat", Name: strings.Repeat("n", 201), MaxAdmins: ptr(-1)}).
			thenRefused(t, domain.CodeInvalid, "name", "max_admins")
	})
	t.Run("an edit of the name leaves the roster alone", func(t *testing.T) {
		given(appCreated(10)...).when(domain.EditApp{App: "chat", Name: ptr("Talk"), At: t1}).
			then(t, domain.AppEdited{App: "chat", Name: "Talk", MaxAdmins: 10, At: t1})
	})
	t.Run("an edit of the limit sets it on the roster", func(t *testing.T) {
		given(appCreated(10)...).when(domain.EditApp{App: "chat", MaxAdmins: ptr(3), At: t1}).
			then(t, domain.AppEdited{App: "chat", Name: "Chat", MaxAdmins: 3, At: t1}, domain.AdminLimitSet{App: "chat", Limit: 3, At: t1})
	})
	t.Run("an edit that changes nothing makes no event", func(t *testing.T) {
		given(appCreated(10)...).when(domain.EditApp{App: "chat", Name: ptr("Chat"), MaxAdmins: ptr(10)}).then(t)
	})
	t.Run("a limit below the seats taken is refused", func(t *testing.T) {
		given(append(appCreated(2), domain.AdminSeatTaken{App: "chat", UserID: "a"}, domain.AdminSeatTaken{App: "chat", UserID: "b"})...).
			when(domain.EditApp{App: "chat", MaxAdmins: ptr(1)}).thenRefused(t, domain.CodeAdminsOverLimit)
	})
	t.Run("an application that does not exist cannot be edited", func(t *testing.T) {
		given().when(domain.EditApp{App: "chat", Name: ptr("x")}).thenRefused(t, domain.CodeAppNotFound)
	})
}

func TestCreateAccount(t *testing.T) {
	profile := domain.Profile{Nickname: "하늘", FaceURL: "https://example.com/a.png", Birthday: 20000229, Level: domain.Num(0)}
	t.Run("an account is created with its profile", func(t *testing.T) {
		given(appCreated(10)...).when(domain.CreateAccount{App: "chat", UserID: "kim", Type: domain.TypeNormal, Profile: profile, At: t0}).
			then(t, created("kim", domain.TypeNormal, profile))
	})
	t.Run("without a type it is normal", func(t *testing.T) {
		given(appCreated(10)...).when(domain.CreateAccount{App: "chat", UserID: "kim", At: t0}).
			then(t, created("kim", domain.TypeNormal, domain.Profile{}))
	})
	t.Run("in an application that does not exist it is refused", func(t *testing.T) {
		given().when(domain.CreateAccount{App: "chat", UserID: "kim"}).thenRefused(t, domain.CodeAppNotFound)
	})
	t.Run("one that exists is refused", func(t *testing.T) {
		given(append(appCreated(10), created("kim", domain.TypeNormal, profile))...).
			when(domain.CreateAccount{App: "chat", UserID: "kim"}).thenRefused(t, domain.CodeAccountExists)
	})
	t.Run("one that was deleted is a new account with nothing of the old one", func(t *testing.T) {
		s := given(append(appCreated(10), created("kim", domain.TypeNormal, profile), domain.AccountDeleted{App: "chat", UserID: "kim", At: t0})...)
		s.when(domain.CreateAccount{App: "chat", UserID: "kim", At: t0}).then(t, created("kim", domain.TypeNormal, domain.Profile{}))
	})
	t.Run("an administrator takes a seat", func(t *testing.T) {
		given(appCreated(1)...).when(domain.CreateAccount{App: "chat", UserID: "boss", Type: domain.TypeAdmin, At: t0}).
			then(t, created("boss", domain.TypeAdmin, domain.Profile{}), domain.AdminSeatTaken{App: "chat", UserID: "boss", At: t0})
	})
	t.Run("one administrator more than the limit is refused", func(t *testing.T) {
		given(append(appCreated(1), domain.AdminSeatTaken{App: "chat", UserID: "a"})...).
			when(domain.CreateAccount{App: "chat", UserID: "b", Type: domain.TypeAdmin}).thenRefused(t, domain.CodeAdminLimitReached)
	})
}

func TestLimitsOfValues(t *testing.T) {
	s := given(appCreated(10)...)
	long := strings.Repeat("é", 250) // 500 bytes
	accepted := map[string]domain.CreateAccount{
		"a user id of 32 bytes":            {UserID: domain.UserID(strings.Repeat("x", 32))},
		"a user id with every odd byte":    {UserID: "!#$%&'()*+,./:;<=>?@[]^_`{|}~"},
		"texts of 500 bytes":               {UserID: "u", Profile: domain.Profile{Nickname: long, SelfSignature: long}},
		"a location of 16 bytes":           {UserID: "u", Profile: domain.Profile{Location: "서울서울서X"}},
		"the last day of February":         {UserID: "u", Profile: domain.Profile{Birthday: 20240229}},
		"the highest number":               {UserID: "u", Profile: domain.Profile{Role: domain.Num(1<<32 - 1)}},
		"every value of the enumerations":  {UserID: "u", Profile: domain.Profile{Gender: "male", AllowType: "deny_any", AdminForbidType: "send_out"}},
		"a picture at an address in words": {UserID: "u", Profile: domain.Profile{FaceURL: "http://사진.example/ㄱ.png"}},
	}
	for name, c := range accepted {
		t.Run(name+" is accepted", func(t *testing.T) {
			c.App = "chat"
			if d := s.when(c); d.err != nil {
				t.Fatal(d.err)
			}
		})
	}
	refused := []struct {
		name  string
		c     domain.CreateAccount
		field string
	}{
		{"no user id", domain.CreateAccount{}, "user_id"},
		{"a user id of 33 bytes", domain.CreateAccount{UserID: domain.UserID(strings.Repeat("x", 33))}, "user_id"},
		{"a user id with a space", domain.CreateAccount{UserID: "a b"}, "user_id"},
		{"a user id that is not ASCII", domain.CreateAccount{UserID: "김"}, "user_id"},
		{"a user id with a broken byte", domain.CreateAccount{UserID: "a\xff"}, "user_id"},
		{"a user id with a control character", domain.CreateAccount{UserID: "a\x7f"}, "user_id"},
		{"a robot's user id", domain.CreateAccount{UserID: "@RBT#1"}, "user_id"},
		{"an official account's user id", domain.CreateAccount{UserID: "@TOA#1"}, "user_id"},
		{"an unknown type", domain.CreateAccount{UserID: "u", Type: "root"}, "type"},
		{"a nickname of 501 bytes", profiled(domain.Profile{Nickname: long + "x"}), "nickname"},
		{"a nickname of broken UTF-8", profiled(domain.Profile{Nickname: "\xc3\x28"}), "nickname"},
		{"a nickname with U+0000", profiled(domain.Profile{Nickname: "a\x00b"}), "nickname"},
		{"a signature of 501 bytes", profiled(domain.Profile{SelfSignature: long + "x"}), "self_signature"},
		{"a location of 17 bytes", profiled(domain.Profile{Location: "서울서울서울"}), "location"},
		{"a picture that is a script", profiled(domain.Profile{FaceURL: "javascript:alert(1)"}), "face_url"},
		{"a picture without a host", profiled(domain.Profile{FaceURL: "https:///a.png"}), "face_url"},
		{"a relative picture", profiled(domain.Profile{FaceURL: "/a.png"}), "face_url"},
		{"a picture URL of 501 bytes", profiled(domain.Profile{FaceURL: "https://e.com/" + strings.Repeat("x", 487)}), "face_url"},
		{"the 30th of February", profiled(domain.Profile{Birthday: 20240230}), "birthday"},
		{"February 29 of a common year", profiled(domain.Profile{Birthday: 20230229}), "birthday"},
		{"a birthday of too many digits", profiled(domain.Profile{Birthday: 200001011}), "birthday"},
		{"a birthday in the year zero", profiled(domain.Profile{Birthday: 101}), "birthday"},
		{"an unknown gender", profiled(domain.Profile{Gender: "x"}), "gender"},
		{"an unknown verification", profiled(domain.Profile{AllowType: "x"}), "allow_type"},
		{"an unknown ban", profiled(domain.Profile{AdminForbidType: "x"}), "admin_forbid_type"},
	}
	for _, r := range refused {
		t.Run(r.name+" is refused", func(t *testing.T) {
			r.c.App = "chat"
			s.when(r.c).thenRefused(t, domain.CodeInvalid, r.field)
		})
	}
	t.Run("all bad fields are named at once, in order", func(t *testing.T) {
		s.when(domain.CreateAccount{App: "chat", UserID: "", Type: "x", Profile: domain.Profile{Gender: "x", Birthday: 1, Location: strings.Repeat("x", 17)}}).
			thenRefused(t, domain.CodeInvalid, "user_id", "type", "gender", "birthday", "location")
	})
}

func profiled(p domain.Profile) domain.CreateAccount {
	return domain.CreateAccount{UserID: "u", Profile: p}
}

func TestEditAccount(t *testing.T) {
	before := domain.Profile{Nickname: "a", Gender: domain.GenderMale, Level: domain.Num(3)}
	s := given(append(appCreated(10), created("kim", domain.TypeNormal, before))...)
	edit := func(fields domain.Fields, p domain.Profile) domain.EditAccount {
		return domain.EditAccount{App: "chat", UserID: "kim", Patch: domain.Patch{Fields: fields, Values: p}, At: t1}
	}
	t.Run("the event holds only what changed", func(t *testing.T) {
		fields := domain.FieldsOf(domain.FieldNickname, domain.FieldGender)
		s.when(edit(fields, domain.Profile{Nickname: "b", Gender: domain.GenderMale})).then(t, domain.AccountEdited{
			App: "chat", UserID: "kim", At: t1,
			Patch: domain.Patch{Fields: domain.FieldsOf(domain.FieldNickname), Values: domain.Profile{Nickname: "b"}},
		})
	})
	t.Run("a field that is not named keeps its value", func(t *testing.T) {
		s.when(edit(0, domain.Profile{Nickname: "b"})).then(t)
	})
	t.Run("a number set to zero differs from one that is unset", func(t *testing.T) {
		s.when(edit(domain.FieldsOf(domain.FieldLanguage), domain.Profile{Language: domain.Num(0)})).then(t, domain.AccountEdited{
			App: "chat", UserID: "kim", At: t1,
			Patch: domain.Patch{Fields: domain.FieldsOf(domain.FieldLanguage), Values: domain.Profile{Language: domain.Num(0)}},
		})
		s.when(edit(domain.FieldsOf(domain.FieldLanguage), domain.Profile{})).then(t)
	})
	t.Run("a field is unset", func(t *testing.T) {
		s.when(edit(domain.FieldsOf(domain.FieldLevel), domain.Profile{})).then(t, domain.AccountEdited{
			App: "chat", UserID: "kim", At: t1, Patch: domain.Patch{Fields: domain.FieldsOf(domain.FieldLevel)},
		})
	})
	t.Run("user id and type are refused by name", func(t *testing.T) {
		s.when(edit(domain.FieldsOf(domain.FieldUserID, domain.FieldType, domain.FieldNickname), domain.Profile{})).
			thenRefused(t, domain.CodeImmutable, "user_id", "type")
	})
	t.Run("a value out of bounds is refused", func(t *testing.T) {
		s.when(edit(domain.FieldsOf(domain.FieldBirthday), domain.Profile{Birthday: 19991332})).thenRefused(t, domain.CodeInvalid, "birthday")
	})
	t.Run("another revision than the expected one is refused", func(t *testing.T) {
		c := edit(domain.FieldsOf(domain.FieldNickname), domain.Profile{Nickname: "b"})
		c.IfRevision = 2
		s.when(c).thenRefused(t, domain.CodeRevisionMismatch)
		c.IfRevision = 3
		if d := s.when(c); d.err != nil || len(d.events) != 1 {
			t.Fatalf("the current revision: %+v, %v", d.events, d.err)
		}
	})
	t.Run("an account that does not exist is refused", func(t *testing.T) {
		given(appCreated(10)...).when(edit(0, domain.Profile{})).thenRefused(t, domain.CodeAccountNotFound)
	})
	t.Run("an application that does not exist is refused", func(t *testing.T) {
		given().when(edit(0, domain.Profile{})).thenRefused(t, domain.CodeAppNotFound)
	})
}

func TestUpsertAccount(t *testing.T) {
	patch := domain.Patch{Fields: domain.FieldsOf(domain.FieldNickname), Values: domain.Profile{Nickname: "b", Location: "not named"}}
	existing := given(append(appCreated(10), created("kim", domain.TypeAdmin, domain.Profile{Nickname: "a"}))...)
	t.Run("an account that does not exist is created from what is named", func(t *testing.T) {
		given(appCreated(10)...).when(domain.UpsertAccount{App: "chat", UserID: "kim", Patch: patch, At: t0}).
			then(t, created("kim", domain.TypeNormal, domain.Profile{Nickname: "b"}))
	})
	t.Run("an account that exists is edited, whatever its type when none is told", func(t *testing.T) {
		existing.when(domain.UpsertAccount{App: "chat", UserID: "kim", Patch: patch, At: t1}).then(t, domain.AccountEdited{
			App: "chat", UserID: "kim", At: t1,
			Patch: domain.Patch{Fields: domain.FieldsOf(domain.FieldNickname), Values: domain.Profile{Nickname: "b"}},
		})
	})
	t.Run("the type of an account that exists is not changed", func(t *testing.T) {
		existing.when(domain.UpsertAccount{App: "chat", UserID: "kim", Type: domain.TypeNormal, Patch: patch}).thenRefused(t, domain.CodeImmutable, "type")
	})
}

func TestDeleteAccount(t *testing.T) {
	t.Run("a normal account is deleted", func(t *testing.T) {
		given(append(appCreated(10), created("kim", domain.TypeNormal, domain.Profile{}))...).
			when(domain.DeleteAccount{App: "chat", UserID: "kim", At: t1}).then(t, domain.AccountDeleted{App: "chat", UserID: "kim", At: t1})
	})
	t.Run("an administrator's seat is released", func(t *testing.T) {
		given(append(appCreated(10), created("kim", domain.TypeAdmin, domain.Profile{}))...).
			when(domain.DeleteAccount{App: "chat", UserID: "kim", At: t1}).
			then(t, domain.AccountDeleted{App: "chat", UserID: "kim", At: t1}, domain.AdminSeatReleased{App: "chat", UserID: "kim", At: t1})
	})
	t.Run("twice is refused", func(t *testing.T) {
		given(append(appCreated(10), created("kim", domain.TypeNormal, domain.Profile{}), domain.AccountDeleted{App: "chat", UserID: "kim"})...).
			when(domain.DeleteAccount{App: "chat", UserID: "kim"}).thenRefused(t, domain.CodeAccountNotFound)
	})
}

func TestFieldsAreNamedAsInTheContract(t *testing.T) {
	want := "app user_id type nickname face_url gender birthday location self_signature allow_type language msg_settings admin_forbid_type level role created_at updated_at revision"
	if got := strings.Join(domain.AllFields.Names(), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for f := range domain.AllFields.All() {
		if back, ok := domain.FieldNamed(f.String()); !ok || back != f {
			t.Errorf("FieldNamed(%q) = %v, %v", f, back, ok)
		}
	}
	if slices.Contains(domain.ProfileFields.Names(), "type") || len(domain.ProfileFields.Names()) != 12 {
		t.Errorf("profile fields: %v", domain.ProfileFields.Names())
	}
}
