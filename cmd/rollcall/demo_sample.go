package main

import (
	"fmt"

	"rollcall/cmd/rollcall/internal/client"
)

// sampleNames are names of people and things in several scripts.
var sampleNames = [...][]string{
	{"김민준", "이서연", "박도윤", "최지우", "정하은", "강시우", "조예린", "윤주원"},
	{"王伟", "李娜", "张敏", "刘洋", "陈静", "杨磊", "黄婷", "周涛"},
	{"محمد", "فاطمة", "أحمد", "مريم", "يوسف", "ليلى", "عمر", "نور"},
	{"🦊 fox", "🐼 panda", "🚀✨", "👩‍💻 dev", "🇰🇷🎉", "🍜🥢", "🎧 dj", "🌊🏄"},
	{"佐藤さくら", "鈴木ハルト", "高橋ゆい", "田中ソウタ", "伊藤ひなた", "渡辺レン", "山本あおい", "中村リク"},
	{"Анна", "Дмитрий", "Мария", "Иван", "Ольга", "Сергей", "Елена", "Павел"},
	{"Ελένη", "Γιώργος", "Μαρία", "Νίκος", "Σοφία", "Κώστας", "Άννα", "Δημήτρης"},
	{"अनन्या", "आरव", "दिया", "विवान", "इशिता", "कबीर", "मीरा", "रोहन"},
	{"Zoë", "Ágúst", "Łukasz", "Şeyma", "Ngọc", "Çağla", "O'Brien, Jr.", "=SUM(A1)"},
}

func sampleUserID(i int) string { return fmt.Sprintf("user-%06d", i) }

// sample is an account as an import tells it.
type sample struct {
	UserID        string `json:"user_id"`
	Type          string `json:"type"`
	Nickname      string `json:"nickname"`
	FaceURL       string `json:"face_url"`
	Gender        string `json:"gender"`
	Birthday      uint32 `json:"birthday"`
	Location      string `json:"location"`
	SelfSignature string `json:"self_signature"`
	AllowType     string `json:"allow_type"`
	Level         uint32 `json:"level"`
}

// sampleAccount returns the i-th sample account, always the same.
func sampleAccount(i int) sample {
	names := sampleNames[i%len(sampleNames)]
	name := names[i/len(sampleNames)%len(names)]
	const year, month, day = 10000, 100, 1
	return sample{
		UserID:        sampleUserID(i),
		Type:          "normal",
		Nickname:      fmt.Sprintf("%s %d", name, i),
		FaceURL:       fmt.Sprintf("https://img.example/%d.png", i),
		Gender:        [...]string{"unknown", "female", "male"}[i%3],
		Birthday:      uint32((1960+i%50)*year + (1+i%12)*month + (1+i%28)*day),
		Location:      [...]string{"서울", "上海", "القاهرة", "Praha"}[i%4],
		SelfSignature: fmt.Sprintf("%s, %s!", name, [...]string{"안녕", "你好", "مرحبا", "hello"}[i%4]),
		AllowType:     [...]string{"need_confirm", "allow_any", "deny_any"}[i%3],
		Level:         uint32(i % 100),
	}
}

// matches tells whether an account is as the sample told it.
func (s sample) matches(a client.Account) bool {
	return s == sample{
		UserID: a.UserID, Type: a.Type, Nickname: a.Nickname, FaceURL: a.FaceURL, Gender: a.Gender, Birthday: a.Birthday,
		Location: a.Location, SelfSignature: a.SelfSignature, AllowType: a.AllowType, Level: value(a.Level),
	}
}

// edited returns the sample as the demo edits it.
func (s sample) edited(level int) sample {
	s.SelfSignature, s.Location, s.Level = demoSignature, "", uint32(level)
	return s
}

func value(n *uint32) uint32 {
	if n == nil {
		return 0
	}
	return *n
}
