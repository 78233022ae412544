package jsonrecord

import "time"

// UTC reads 2006-01-02T15:04:05Z with up to nine decimals, quickly. It gives up on anything else, which time.Parse then has
// to judge.
func UTC(text []byte) (time.Time, bool) {
	// 2006-01-02T15:04:05[.999999999]Z
	if len(text) < 20 || text[len(text)-1] != 'Z' || text[4] != '-' || text[7] != '-' || text[10] != 'T' ||
		text[13] != ':' || text[16] != ':' {
		return time.Time{}, false
	}
	century, ok1 := two(text[0:2])
	year, ok2 := two(text[2:4])
	month, ok3 := two(text[5:7])
	day, ok4 := two(text[8:10])
	hour, ok5 := two(text[11:13])
	minute, ok6 := two(text[14:16])
	second, ok7 := two(text[17:19])
	year += century * 100
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 ||
		year < 1970 || month < 1 || month > 12 || day < 1 || day > 28 && day > monthDays(year, month) || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	nanos := 0
	if fraction := text[19 : len(text)-1]; len(fraction) > 0 {
		if fraction[0] != '.' || len(fraction) < 2 || len(fraction) > 10 {
			return time.Time{}, false
		}
		n, ok := Digits(fraction[1:])
		if !ok {
			return time.Time{}, false
		}
		for i := len(fraction) - 1; i < 9; i++ {
			n *= 10
		}
		nanos = n
	}
	return time.Unix(unixDay(year, month, day)*86400+int64(hour*3600+minute*60+second), int64(nanos)).UTC(), true
}

// unixDay counts the days since 1970-01-01. Years begin in March here, so that the odd day is a year's last; 153 days are
// the five months that the lengths of months repeat after.
func unixDay(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	return int64(year*365 + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 719469)
}

func monthDays(year, month int) int {
	switch {
	case month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0):
		return 29
	case month == 2:
		return 28
	case month == 4, month == 6, month == 9, month == 11:
		return 30
	}
	return 31
}

func two(text []byte) (n int, ok bool) {
	tens, units := text[0]-'0', text[1]-'0'
	return int(tens)*10 + int(units), tens <= 9 && units <= 9
}

// Digits reads a number of decimal digits; of no text it is 0. It must not have more than eighteen.
func Digits(text []byte) (n int, ok bool) {
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
