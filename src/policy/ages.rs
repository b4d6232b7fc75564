//! Ages in a text: numbers in digits or words with and without a unit, birth years, school grades.
//!
//! Only asked about texts that are sexual, so a bare number beside a person is read as an age.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::fold::folded;
use super::text::{Gap, Text};

/// What the ages of a text say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ages {
    /// Somebody is under 18.
    pub minor: bool,
    /// Somebody is said to be 18 or older.
    pub adult: bool,
}

/// A word, with digits apart from letters: `15yo` is `15`, `yo`.
struct Part {
    text: String,
    /// What stands before it.
    gap: Gap,
    /// Written together with the part before it.
    glued: bool,
}

const NUMBERS: &str = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen \
     sixteen seventeen eighteen";

const TENS: &str = "twenty thirty forty fifty sixty seventy eighty ninety";

const ORDINALS: &str =
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth";

/// Numbers from eight to seventeen in other languages, folded; smaller ones are words of other things.
static OTHER_NUMBERS: LazyLock<Vec<(String, usize)>> = LazyLock::new(|| {
    let rows: [(&str, usize); 12] = [
        (
            "acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn",
            8,
        ),
        ("huit neuf dix onze douze treize quatorze quinze seize", 8),
        (
            "ocho nueve diez once doce trece catorce quince dieciséis diecisiete dieciocho",
            8,
        ),
        (
            "otto nove dieci undici dodici tredici quattordici quindici sedici diciassette diciotto",
            8,
        ),
        (
            "oito nove dez onze doze treze catorze quinze dezesseis dezessete dezoito",
            8,
        ),
        (
            "acht negen tien elf twaalf dertien veertien vijftien zestien zeventien achttien",
            8,
        ),
        (
            "osiem dziewięć dziesięć jedenaście dwanaście trzynaście czternaście piętnaście szesnaście siedemnaście",
            8,
        ),
        (
            "восемь девять десять одиннадцать двенадцать тринадцать четырнадцать пятнадцать шестнадцать семнадцать",
            8,
        ),
        (
            "восьмилетняя девятилетняя десятилетняя одиннадцатилетняя двенадцатилетняя тринадцатилетняя четырнадцатилетняя пятнадцатилетняя шестнадцатилетняя семнадцатилетняя",
            8,
        ),
        ("åtta nio tio elva tolv tretton fjorton femton sexton sjutton", 8),
        (
            "八歳 九歳 十歳 十一歳 十二歳 十三歳 十四歳 十五歳 十六歳 十七歳",
            8,
        ),
        (
            "八岁 九岁 十岁 十一岁 十二岁 十三岁 十四岁 十五岁 十六岁 十七岁",
            8,
        ),
    ];
    rows.iter()
        .flat_map(|(words, first)| {
            words
                .split(' ')
                .enumerate()
                .map(move |(i, w)| (folded(w), first + i))
        })
        .collect()
});

/// What follows a number that is an age, in several languages, folded.
static YEARS: LazyLock<Vec<String>> = LazyLock::new(|| {
    "year years yr yrs yo y yearold yearolds jahre jahren jährige jährigen jähriges jähriger jährig jaehrige ans años anos anni jaar \
     jarige jarig lat letnia letni letniej let лет летняя летний летние летнюю года год років річна річний рік χρονων ετων \
     yaş yaşında yaşındaki år åring årig åriga års vuotta vuotias éves ročná ročny letá ani tahun tuoi tuổi gadang \
     歳 才 歳の 岁 歲 岁的 살 세 साल वर्ष वर्षीय سنة عام سنوات عاما ساله سال שנה שנים ปี ขวบ"
        .split_whitespace()
        .map(folded)
        .collect()
});

/// What stands before a number that is certainly an age.
const AGED: &str = "age ages aged agee edad idade eta alter leeftijd wiek возраст u";

/// What stands before a number that is an age where the sentence ends or goes on without a noun.
const MAYBE_AGED: &str = "is im m s am she he shes hes only just turning turned turns under below was barely almost nearly \
     about around like looks looking sub";

const NO_NOUN: &str = "and but with in on at or now today again who nude naked old";

/// A person who may have an age before or behind: `15 girl`, `girl 15`, `f15`.
const PERSONS: &str = "girl boy f m female male lady woman man model chick babe gal guy she he her him person sister \
     brother daughter son niece nephew cousin beauty virgin blonde brunette redhead asian cutie actress \
     dancer cheerleader ballerina gymnast princess maid maiden fille garcon madchen junge chica chico \
     ragazza ragazzo menina meisje jongen frau femme mujer donna mulher";

/// What stands before a year of birth.
const BORN: &str = "born b birth birthday birthdate birthyear dob yob geboren geb nee ne nacida nacido nata nato nascida \
     nascido urodzona urodzony родилась родился рождения fodd fodt geboortejaar jahrgang naissance \
     nacimiento nascita";

const OF_A_SCHOOL: &str =
    "pupil pupils student students class classmate grader graders girl girls boy boys schoolgirl kid kids";

pub(super) fn ages(text: &Text) -> Ages {
    let mut ages = Ages::default();
    for undone in [false, true] {
        let parts = parts(text, undone);
        for at in 0..parts.len() {
            let around = Around { parts: &parts, at };
            ages.minor |= around.is_minor();
            ages.adult |= around.is_adult();
        }
    }
    ages
}

/// Words with digits apart from letters; digits that stand alone are one number: `1 5yo`.
fn parts(text: &Text, undone: bool) -> Vec<Part> {
    let mut out: Vec<Part> = Vec::new();
    for token in &text.tokens {
        let plain = token.plain();
        let word = if undone && plain.starts_with(char::is_alphabetic) {
            token.undone()
        } else {
            plain
        };
        let chars: Vec<char> = word.chars().collect();
        for (index, run) in chars
            .chunk_by(|a, b| a.is_numeric() == b.is_numeric())
            .enumerate()
        {
            let run: String = run.iter().collect();
            let digit = |s: &str| s.len() == 1 && s.as_bytes()[0].is_ascii_digit();
            match out.last_mut() {
                Some(last) if digit(&run) && digit(&last.text) && !token.gap.is_border() => {
                    last.text.push_str(&run)
                }
                _ => {
                    let (gap, glued) = if index > 0 {
                        (Gap::Mark, true)
                    } else {
                        (token.gap, false)
                    };
                    out.push(Part {
                        text: run,
                        gap,
                        glued,
                    });
                }
            }
        }
    }
    out
}

struct Around<'a> {
    parts: &'a [Part],
    at: usize,
}

impl Around<'_> {
    fn word(&self, offset: isize) -> &str {
        let index = self.at.checked_add_signed(offset);
        index
            .and_then(|k| self.parts.get(k))
            .map_or("", |part| part.text.as_str())
    }

    fn gap(&self, offset: isize) -> Gap {
        let index = self.at.checked_add_signed(offset);
        index
            .and_then(|k| self.parts.get(k))
            .map_or(Gap::Border, |part| part.gap)
    }

    fn is_glued(&self, offset: isize) -> bool {
        let index = self.at.checked_add_signed(offset);
        index
            .and_then(|k| self.parts.get(k))
            .is_some_and(|part| part.glued)
    }

    fn is_minor(&self) -> bool {
        if self.born_late() || self.in_a_grade() || self.finishes_school_later() {
            return true;
        }
        let Some(number) = number(self.word(0)) else {
            return false;
        };
        if is_among(TENS, self.word(-1)) {
            return false;
        }
        if number == 18 {
            return self.not_yet();
        }
        // `nud3`, `b4by`: a digit within a word is a letter.
        let within = self.is_glued(0) && !is_among(PERSONS, self.word(-1)) && !is_among(AGED, self.word(-1));
        if within && !self.has_unit() {
            return false;
        }
        number < 18
            && (self.has_unit()
                || self.is_aged(number)
                || self.beside_person(number)
                || self.stands_alone(number))
    }

    fn is_adult(&self) -> bool {
        let tens = is_among(TENS, self.word(0));
        let old = self.word(0).parse().is_ok_and(|n: usize| (18..100).contains(&n))
            || self.word(0) == "eighteen"
            || tens;
        let behind = Around {
            parts: self.parts,
            at: self.at + usize::from(tens && number(self.word(1)).is_some()),
        };
        old && !self.not_yet() && (behind.has_unit() || is_among(AGED, self.word(-1)))
    }

    /// `not yet 18`, `younger than 18`.
    fn not_yet(&self) -> bool {
        let less = [
            "under", "below", "not", "almost", "nearly", "before", "sub", "unter", "onder", "u",
        ]
        .contains(&self.word(-1));
        let than = ["than", "de", "di"].contains(&self.word(-1))
            && ["younger", "less", "menor", "menos", "moins", "meno"].contains(&self.word(-2));
        less || than || (self.word(-1) == "yet" && self.word(-2) == "not")
    }

    fn has_unit(&self) -> bool {
        let months = ["month", "months", "weeks", "days"].contains(&self.word(1)) && self.word(2) == "old";
        let months = months || (self.word(1) == "y" && self.word(2) == "o");
        let together = YEARS
            .iter()
            .any(|y| y == self.word(1) && (y.len() > 1 || self.is_glued(1)));
        // `jährige`, `歳の少女`: what follows in the same word.
        let begins = self.is_glued(1)
            && YEARS
                .iter()
                .any(|y| !y.is_ascii() && self.word(1).starts_with(y.as_str()));
        months
            || together
            || begins
            || other_number(self.word(0)).is_some_and(|_| {
                YEARS
                    .iter()
                    .any(|y| !y.is_ascii() && self.word(0).ends_with(y.as_str()))
            })
    }

    fn is_aged(&self, number: usize) -> bool {
        let aged = is_among(AGED, self.word(-1)) || (self.word(-1) == "of" && self.word(-2) == "age");
        let open = self.word(1).is_empty() || is_among(NO_NOUN, self.word(1)) || self.gap(1).is_border();
        aged || (is_among(MAYBE_AGED, self.word(-1)) && open && number >= 4)
    }

    /// `15 girl`, `girl 15`, `f15`; not `1girl`, `2 girls`, `one woman`.
    fn beside_person(&self, number: usize) -> bool {
        let counts = number < 2 || (self.is_glued(1) && self.word(1).len() > 1);
        let before = is_among(PERSONS, self.word(1)) && !self.gap(1).is_border() && !counts;
        let behind =
            is_among(PERSONS, self.word(-1)) && (!self.gap(0).is_border() || self.is_alone()) && number >= 4;
        before || behind
    }

    /// A number between commas or in brackets.
    fn stands_alone(&self, number: usize) -> bool {
        let lists = number_like(self.word(-1)) || number_like(self.word(1));
        (8..18).contains(&number) && self.is_alone() && self.at > 0 && !lists
    }

    fn is_alone(&self) -> bool {
        self.gap(0).is_border() && (self.at + 1 == self.parts.len() || self.gap(1).is_border())
    }

    fn born_late(&self) -> bool {
        let Some(year) = year(self.word(0)) else {
            return false;
        };
        let near = |word: &str| is_among(BORN, word);
        let before = near(self.word(-1)) || near(self.word(-2)) || near(self.word(-3));
        (before || near(self.word(1))) && this_year().saturating_sub(year) < 18
    }

    /// `7th grade`, `grade 7`, `seventh grader`, `year 9 pupil`, `Klasse 7`.
    fn in_a_grade(&self) -> bool {
        let word = self.word(0);
        let grade = [
            "grade",
            "grader",
            "graders",
            "klasse",
            "klassler",
            "klasslerin",
            "form",
            "former",
        ]
        .contains(&word);
        let ordinal = |w: &str| is_among(ORDINALS, w);
        let with_suffix = ["st", "nd", "rd", "th"].contains(&self.word(-1)) && small(self.word(-2));
        let before =
            grade && (ordinal(self.word(-1)) || with_suffix || (word != "form" && small(self.word(-1))));
        let after = ["grade", "klasse", "year", "kl", "classe", "curso"].contains(&word)
            && small(self.word(1))
            && (word != "year" || is_among(OF_A_SCHOOL, self.word(2)) || self.word(2) == "school");
        before || (after && !self.word(1).is_empty())
    }

    /// `class of 2031`.
    fn finishes_school_later(&self) -> bool {
        self.word(-1) == "of"
            && self.word(-2) == "class"
            && year(self.word(0)).is_some_and(|y| y >= this_year())
    }
}

/// Whether a list of words with spaces between them holds the word.
fn is_among(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|entry| entry == word)
}

fn small(word: &str) -> bool {
    number(word).is_some_and(|n| (1..=13).contains(&n))
}

fn number(word: &str) -> Option<usize> {
    let digits = || -> Option<usize> {
        let mut value = (!word.is_empty()).then_some(0_usize);
        for c in word.chars() {
            value = Some(value?.checked_mul(10)? + digit(c)?);
        }
        value
    };
    NUMBERS
        .split_whitespace()
        .position(|n| n == word)
        .or_else(digits)
        .or_else(|| other_number(word))
        .filter(|n| *n <= 18)
}

/// A decimal digit of the scripts that have their own.
fn digit(c: char) -> Option<usize> {
    const ZEROS: &[char] = &['0', '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{e50}'];
    ZEROS
        .iter()
        .find_map(|zero| (c as usize).checked_sub(*zero as usize).filter(|d| *d < 10))
}

fn other_number(word: &str) -> Option<usize> {
    if word.is_empty() {
        return None;
    }
    OTHER_NUMBERS
        .iter()
        .find(|(name, _)| {
            name == word
                || (!name.is_ascii() && name.ends_with(['歳', '岁']) && word.starts_with(name.as_str()))
        })
        .map(|(_, n)| *n)
}

fn number_like(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}

fn year(word: &str) -> Option<u64> {
    word.parse()
        .ok()
        .filter(|y| word.len() == 4 && (1900..2100).contains(y))
}

/// The year it is, give or take a day.
fn this_year() -> u64 {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    1970 + seconds / 31_556_952
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minor(text: &str) -> bool {
        ages(&Text::new(text)).minor
    }

    #[test]
    fn ages_below_18_are_seen_in_digits_and_words() {
        for text in [
            "15yo",
            "15 y/o",
            "15-year-old",
            "fifteen year old",
            "aged 12",
            "age: 9",
            "she is sixteen",
            "17 years",
            "under 18",
            "not yet eighteen",
            "younger than 18",
            "15歳",
            "15岁",
            "15-jährige",
            "1 5 years old",
            "１５ years",
            "13 ans",
            "16yr",
            "at the age of 14",
            "fift33n years",
            "fünfzehn Jahre",
            "quinze ans",
            "quince años",
            "十五歳の",
            "пятнадцать лет",
            "14살",
            "six months old",
            "she's 15",
            "٤ سنوات",
        ] {
            assert!(minor(text), "{text}");
        }
    }

    #[test]
    fn ages_without_a_unit_birth_years_and_grades_are_seen() {
        let year = this_year();
        let texts = [
            "15f".to_string(),
            "f15".into(),
            "a 15 girl".into(),
            "girl, 15, bedroom".into(),
            "Anna (14)".into(),
            "a girl of sixteen, she is 16 and nude".into(),
            "female 13".into(),
            format!("born in {}", year - 15),
            format!("born {}", year - 10),
            format!("geboren {}", year - 12),
            format!("née en {}", year - 9),
            "7th grade".into(),
            "a seventh grader".into(),
            "grade 7".into(),
            "a year 9 pupil".into(),
            "7. Klasse".into(),
            "Klasse 7".into(),
            format!("class of {}", year + 4),
            "u18".into(),
            "sub 16".into(),
        ];
        for text in &texts {
            assert!(minor(text), "{text}");
        }
    }

    #[test]
    fn adults_and_plain_numbers_are_no_ages_of_minors() {
        for text in [
            "a woman of 25 years",
            "aged 45",
            "18 years old",
            "over 18",
            "two people",
            "a 1950s kitchen",
            "7 candles",
            "f/1.8, 35mm",
            "3 women, 2 men",
            "twenty five year old",
            "8k, 4 lights",
            "born in 1970",
            "class of 1998",
            "1girl, solo",
            "2 girls",
            "one woman",
            "steps 12 to 14",
            "10, 12, 14",
        ] {
            assert!(!minor(text), "{text}");
        }
        assert!(ages(&Text::new("a 25 year old")).adult && ages(&Text::new("twenty five years old")).adult);
        assert!(!ages(&Text::new("a girl")).adult);
    }
}
