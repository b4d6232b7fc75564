//! The rules as a whole.

use super::*;
use crate::error::{hint_of, kind_of};

fn verdict(text: &str, mode: ContentMode) -> Option<Category> {
    judge(&[text], None, mode, false)
}

fn judge(texts: &[&str], negative: Option<&str>, mode: ContentMode, has_reference: bool) -> Option<Category> {
    let texts: Vec<(&str, &str)> = texts.iter().map(|t| ("text", *t)).collect();
    let refusal = Judge::new(mode, &[]).judge(&texts, negative.as_slice(), has_reference);
    refusal.map(|r| r.category)
}

/// The mild words stand in for everything that the library knows.
#[test]
fn sexual_content_is_refused_by_default_and_allowed_by_the_operator() {
    for text in [
        "a nude woman",
        "erotic photo",
        "a topless model",
        "NSFW",
        "naked man on a bed",
    ] {
        assert_eq!(
            verdict(text, ContentMode::Sfw),
            Some(Category::AdultContent),
            "{text}"
        );
        assert_eq!(verdict(text, ContentMode::Adult), None, "{text}");
    }
}

#[test]
fn evasions_are_seen_through() {
    for text in [
        "n u d e woman",
        "n.u.d.e woman",
        "n-u-d-e",
        "n_a_k_e_d",
        "nud3 woman",
        "n@ked",
        "nаkеd",
        "ｎａｋｅｄ",
        "n\u{200b}u\u{200b}d\u{200b}e",
        "nakéd",
        "n\u{301}a\u{301}k\u{301}ed",
        "naaaaaked",
        "NaKeD",
        "𝕟𝕒𝕜𝕖𝕕",
        "nak\u{ad}ed",
        "er0tic",
        "nackte Frau",
        "обнажённая",
        "裸体",
        "ヌード",
        "without clothes",
    ] {
        assert_eq!(
            verdict(text, ContentMode::Sfw),
            Some(Category::AdultContent),
            "{text}"
        );
    }
}

#[test]
fn sexual_content_with_a_hint_at_minors_is_refused_in_every_mode() {
    for text in [
        "nude child",
        "naked, 15 years old",
        "fifteen-year-old, nude",
        "nude t e e n",
        "n u d e s c h o o l g i r l",
        "nude 15yo",
        "erotic high school",
        "naked little girl",
        "naked chіld",
        "nackt, 15-jährige",
        "裸の少女",
        "nude, under 18",
        "nude, looks young",
    ] {
        for mode in [ContentMode::Sfw, ContentMode::Adult] {
            assert_eq!(verdict(text, mode), Some(Category::SexualMinors), "{text}");
        }
    }
}

#[test]
fn splitting_a_request_over_two_texts_changes_nothing() {
    let texts = ["a nude figure", "a child"];
    assert_eq!(
        judge(&texts, None, ContentMode::Adult, false),
        Some(Category::SexualMinors)
    );
}

#[test]
fn explicit_prompts_with_a_reference_are_refused_in_every_mode() {
    for mode in [ContentMode::Sfw, ContentMode::Adult] {
        let found = judge(&["a nude woman"], None, mode, true);
        assert_eq!(found, Some(Category::ExplicitWithReference));
        assert_eq!(judge(&["a woman in a coat"], None, mode, true), None);
    }
}

#[test]
fn a_negative_prompt_may_list_what_is_unwanted() {
    let job = |prompt, negative| judge(&[prompt], Some(negative), ContentMode::Adult, false);
    assert_eq!(
        judge(&["a castle"], Some("nude, nsfw, child"), ContentMode::Sfw, false),
        None
    );
    assert_eq!(job("a nude woman", "child, teen, underage"), None);
    assert_eq!(job("a nude woman", "adult, mature"), Some(Category::SexualMinors));
    assert_eq!(job("a castle", "adult"), None);
}

#[test]
fn a_refusal_names_a_category_and_quotes_nothing() {
    let e = Judge::new(ContentMode::Sfw, &[])
        .texts(&[("prompt", "a nude figure")], false)
        .unwrap_err();
    assert_eq!(kind_of(&e).exit_code(), 77);
    assert_eq!(
        e.to_string(),
        "refused by the content rules: adult_content in prompt"
    );
    assert!(
        Judge::new(ContentMode::Sfw, &[])
            .texts(&[("prompt", "a castle")], true)
            .is_ok()
    );
}

#[test]
fn a_refusal_names_the_field_and_the_way_to_appeal() {
    let judge = Judge::new(ContentMode::Sfw, &[]);
    let texts = [
        ("config.system_prompt", "be kind"),
        ("messages[1]", "a nude figure"),
    ];
    let e = judge.texts(&texts, false).unwrap_err();
    assert_eq!(
        e.to_string(),
        "refused by the content rules: adult_content in messages[1]"
    );
    assert!(
        hint_of(&e).is_some_and(|hint| hint.contains("[policy] allow")),
        "{e}"
    );
    let texts = [("prompt", "a child"), ("enhanced_prompt", "a nude figure")];
    let e = judge.texts(&texts, false).unwrap_err();
    assert_eq!(
        e.to_string(),
        "refused by the content rules: sexual_minors in enhanced_prompt"
    );
    assert!(hint_of(&e).is_some_and(|hint| !hint.contains("allow")), "{e}");
}

#[test]
fn allowed_words_never_reach_the_rules_about_minors_and_references() {
    let judge = Judge::new(ContentMode::Sfw, &["Nude".into(), "naked ambition".into()]);
    assert!(judge.texts(&[("prompt", "a nude figure, nudes")], false).is_ok());
    assert!(
        judge
            .texts(&[("prompt", "a nude figure, topless")], false)
            .is_err()
    );
    let category = |text, has_reference| {
        judge
            .judge(&[("prompt", text)], &[], has_reference)
            .map(|r| r.category)
    };
    assert_eq!(category("a nude child", false), Some(Category::SexualMinors));
    assert_eq!(
        category("a nude figure", true),
        Some(Category::ExplicitWithReference)
    );
}

#[test]
fn taking_clothes_away_from_somebody_is_asking_for_nudity() {
    let job = |prompt, negative| judge(&[prompt], Some(negative), ContentMode::Sfw, false);
    assert_eq!(
        job("a woman on a beach", "blurry, clothes"),
        Some(Category::AdultContent)
    );
    assert_eq!(job("a boy on a beach", "clothing"), Some(Category::SexualMinors));
    assert_eq!(job("a woman on a beach", "torn clothes, blurry"), None);
    assert_eq!(job("a washing line", "clothes"), None);
}

#[test]
fn girl_and_boy_are_hints_beside_sexual_words_unless_somebody_is_grown_up() {
    let adult = |text| verdict(text, ContentMode::Adult);
    assert_eq!(adult("a nude girl"), Some(Category::SexualMinors));
    assert_eq!(adult("sexy boys"), Some(Category::SexualMinors));
    assert_eq!(adult("a nude girl, 25 years old"), None);
    assert_eq!(adult("an adult girl, nude"), None);
    assert_eq!(
        adult("a little girl and a naked adult"),
        Some(Category::SexualMinors)
    );
    assert_eq!(adult("1girl, solo, nude, 8k, f/1.8, 35mm"), None);
    assert_eq!(adult("three nude women, 12 candles, 15 steps"), None);
}

#[test]
fn nothing_matches_across_the_borders_of_words() {
    for text in [
        "hat. It",
        "I see a cat. It runs.",
        "expression",
        "six tables",
        "CN Tower",
        "the CN Tower. Um",
        "pen is mine",
        "a nu, de facto",
    ] {
        assert_eq!(verdict(text, ContentMode::Sfw), None, "{text}");
    }
}

#[test]
fn innocent_prompts_pass() {
    let refused: Vec<_> = INNOCENT
        .iter()
        .filter(|text| verdict(text, ContentMode::Sfw).is_some())
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

const INNOCENT: &[&str] = &[
    "a red circle",
    "the town of Scunthorpe at night",
    "a cockatoo on a branch",
    "Essex countryside",
    "Middlesex county map",
    "a girl with a red balloon",
    "children playing football",
    "Michelangelo's David statue",
    "a breast of chicken on a plate",
    "grilled chicken breast with rosemary",
    "an assassin in a dark alley",
    "a glass of cocktail on a bar",
    "a class of pupils in a classroom, 1950s",
    "a peacock displaying its feathers",
    "a fifteen year old whisky in a glass",
    "portrait of a teenager reading a book",
    "a baby elephant bathing in a river",
    "a little girl in a yellow raincoat",
    "a shiitake mushroom on a log",
    "mass transit, grass, brass and glass",
    "a therapist's office",
    "a bass guitar on a stand",
    "Moby Dick, the white whale",
    "Virgin Mary icon, gold leaf",
    "extra virgin olive oil on a table",
    "a great tit on a bird feeder",
    "a rooster on a farm at dawn",
    "a naked mole rat, macro photo",
    "stars seen with the naked eye",
    "pussy willow branches in a vase",
    "a sperm whale diving",
    "a titan fighting a dragon",
    "the constitution, parchment",
    "an analyst looking at graphs",
    "a masterpiece, (castle:1.3), [tree] & more *stars*!",
    "8k, 4 lights, f/1.8, 35mm, 50% off!!!",
    "a woman in a coat walking in the rain",
    "a man lifting weights in a gym",
    "swimmers on a beach in summer",
    "a kiss at the railway station, 1940s film",
    "a wedding couple under a tree",
    "a knight in armour with a breastplate",
    "a robin redbreast in snow",
    "a document stamped classified",
    "a hot summer day in the desert",
    "a steaming cup of coffee",
    "a red heart on a pink background",
    "two black squares and a white ring",
    "big orange triangle on the left, navy background",
    "a nurse and a doctor in a hospital corridor",
    "ein rotes Haus am See",
    "un gato negro sobre la mesa",
    "一座雪山下的寺庙",
    "кошка на окне",
    "a cumulus cloud over Sussex",
    "a Dickens novel on a shelf",
    "a pen island in a lake",
    "an ass and an ox in a stable",
    "hancock tower, chicago",
    "a shuttlecock on a lawn",
    "a sextant on a map",
    "a sextet playing jazz",
    "homo sapiens skeleton",
    "a gay pride parade",
    "two lesbians walking hand in hand",
    "a drag queen on stage",
    "a mother breastfeeding her baby",
    "golf balls on grass",
    "a cowgirl in texas",
    "the birth of venus by botticelli",
    "イエローのドレス",
    "エセックスの風景",
];
