//! Against the signatures that Aliyun publishes.

use std::collections::BTreeMap;

use super::{canonical, cut, sign};

/// "Request signature" of the documentation of `SendSms`.
#[test]
fn signs_the_published_example_of_send_sms() {
    let parameters = BTreeMap::from([
        ("AccessKeyId", "testId"),
        ("Action", "SendSms"),
        ("Format", "XML"),
        ("OutId", "123"),
        ("PhoneNumbers", "15300000001"),
        ("RegionId", "cn-hangzhou"),
        ("SignName", "阿里云短信测试专用"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureNonce", "45e25e9b-0a6f-4070-8c85-2956eda1b466"),
        ("SignatureVersion", "1.0"),
        ("TemplateCode", "SMS_71390007"),
        ("TemplateParam", r#"{"customer":"test"}"#),
        ("Timestamp", "2017-07-12T02:42:19Z"),
        ("Version", "2017-05-25"),
    ]);
    let query = canonical(&parameters);
    assert!(query.starts_with("AccessKeyId=testId&Action=SendSms&Format=XML&OutId=123"), "{query}");
    assert!(query.contains("&TemplateParam=%7B%22customer%22%3A%22test%22%7D&"), "{query}");
    assert_eq!(sign("GET", &query, "testSecret"), "zJDF+Lrzhj/ThnlvIToysFRq6t4=");
}

/// "Signature method" of the documentation of ECS, which has the same interface.
#[test]
fn signs_the_published_example_of_describe_regions() {
    let parameters = BTreeMap::from([
        ("AccessKeyId", "testid"),
        ("Action", "DescribeRegions"),
        ("Format", "XML"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureNonce", "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"),
        ("SignatureVersion", "1.0"),
        ("Timestamp", "2016-02-23T12:46:24Z"),
        ("Version", "2014-05-26"),
    ]);
    let signed = sign("GET", &canonical(&parameters), "testsecret");
    assert_eq!(signed, "OLeaidS1JvxuMvnyHOwuJ+uX5qY=");
}

#[test]
fn a_variable_keeps_within_its_bound() {
    assert_eq!(cut("a\nb  c"), "a b c");
    assert_eq!(cut(&"长".repeat(35)), "长".repeat(35));
    assert_eq!(cut(&"长".repeat(36)), format!("{}…", "长".repeat(34)));
}
