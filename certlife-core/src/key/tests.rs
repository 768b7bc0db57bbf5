use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;
use crate::{
    input::InputError,
    openssl::{openssl, openssl_text},
};

fn from_pem(text: impl Into<String>) -> Result<PrivateKey, InputError> {
    PrivateKey::from_pem(&Secret::new(text))
}

fn from_der(der: Vec<u8>) -> Result<PrivateKey, InputError> {
    PrivateKey::from_der(&SecretBytes::new(der))
}

fn refusal(outcome: Result<PrivateKey, InputError>) -> String {
    let refused = outcome.unwrap_err();
    assert!(matches!(refused, InputError::PrivateKey { .. }), "{refused:?}");
    refused.to_string()
}

#[tokio::test]
async fn openssl_reads_every_key_and_sees_the_same_public_key() {
    for algorithm in KeyAlgorithm::ALL {
        let key = PrivateKey::generate_off_thread(*algorithm).await.unwrap();
        assert_eq!(key.algorithm(), *algorithm);
        let pem = key.to_pkcs8_pem().unwrap();
        let public = openssl(&["pkey", "-pubout", "-outform", "DER"], pem.expose().as_bytes());
        assert_eq!(public, key.public_key_der(), "{algorithm}");
        let der = key.to_pkcs8_der().unwrap();
        assert_eq!(openssl(&["pkey", "-inform", "DER", "-pubout", "-outform", "DER"], der.expose()), public);

        for again in [PrivateKey::from_pem(&pem).unwrap(), PrivateKey::from_der(&der).unwrap()] {
            assert_eq!(again, key);
            assert_eq!(again.to_pkcs8_der().unwrap().expose(), der.expose());
        }
    }
}

#[test]
fn keys_of_openssl_are_read_in_every_form() {
    let rsa = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let curve = |name: &'static str| ["ecparam", "-genkey", "-name", name];
    for (made, algorithm) in [
        (openssl_text(&rsa, b""), KeyAlgorithm::Rsa2048),
        (openssl_text(&curve("prime256v1"), b""), KeyAlgorithm::EcdsaP256),
        (openssl_text(&curve("secp384r1"), b""), KeyAlgorithm::EcdsaP384),
        (openssl_text(&curve("secp521r1"), b""), KeyAlgorithm::EcdsaP521),
        (openssl_text(&["genpkey", "-algorithm", "ED25519"], b""), KeyAlgorithm::Ed25519),
    ] {
        let key = from_pem(made.clone()).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let mut forms = vec![openssl(&["pkey", "-outform", "DER"], made.as_bytes())];
        if algorithm.is_rsa() {
            forms.push(openssl(&["rsa", "-traditional", "-outform", "DER"], made.as_bytes()));
        } else if algorithm != KeyAlgorithm::Ed25519 {
            forms.push(openssl(&["ec", "-outform", "DER"], made.as_bytes()));
            forms.push(openssl(&["ec", "-no_public", "-outform", "DER"], made.as_bytes()));
        }
        for der in forms {
            assert_eq!(from_der(der).unwrap(), key);
        }
    }
}

#[test]
fn pkcs8_version_2_is_read_and_version_1_is_written() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let version_2 = pair.to_pkcs8().unwrap().as_ref().to_vec();
    let key = from_der(version_2.clone()).unwrap();
    let version_1 = key.to_pkcs8_der().unwrap();
    // The version follows the outer header of two bytes (RFC 5958 §2).
    assert_eq!((&version_2[2..5], &version_1.expose()[2..5]), (&[2, 1, 1][..], &[2, 1, 0][..]));

    let mut mismatched = version_2;
    *mismatched.last_mut().unwrap() ^= 1;
    assert!(refusal(from_der(mismatched)).contains("belong together"));
}

#[test]
fn unusable_keys_are_refused_with_the_reason() {
    let pem = |arguments: &[&str]| openssl_text(arguments, b"");
    let p256 = pem(&["ecparam", "-genkey", "-noout", "-name", "prime256v1"]);
    let password = ["-passout", "pass:secret"];
    let encrypted =
        openssl_text(&[&["pkcs8", "-topk8", "-v2", "aes-256-cbc"][..], &password].concat(), p256.as_bytes());
    let traditional = openssl_text(&[&["ec", "-aes256"][..], &password].concat(), p256.as_bytes());
    for (text, reason) in [
        (pem(&["genrsa", "1024"]), "this one has 1024"),
        (pem(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2056"]), "this one has 2056"),
        (pem(&["genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"]), "restricted to PSS"),
        (pem(&["ecparam", "-genkey", "-noout", "-name", "secp256k1"]), "curve 1.3.132.0.10 is not supported"),
        (
            pem(&["ecparam", "-genkey", "-noout", "-name", "prime256v1", "-param_enc", "explicit"]),
            "spelled out",
        ),
        (pem(&["genpkey", "-algorithm", "ED448"]), "algorithm 1.3.101.113 are not supported"),
        (encrypted, "remove the passphrase"),
        (traditional, "remove the passphrase"),
        (format!("{p256}{p256}"), "more than one private key"),
        (openssl_text(&["pkey", "-pubout"], p256.as_bytes()), "no PEM block with a private key"),
        (String::new(), "no PEM block with a private key"),
        (p256[..100].to_owned(), "no end"),
        ("-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n".to_owned(), "not a private key"),
        ("a".repeat(70_000), "larger than 64 KiB"),
    ] {
        let message = refusal(from_pem(text));
        assert!(message.contains(reason), "{message} should say {reason}");
    }
    let bytes = openssl(
        &["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-outform", "DER", "-passout", "pass:a"],
        p256.as_bytes(),
    );
    assert!(refusal(from_der(bytes)).contains("remove the passphrase"));
    assert!(refusal(from_der(vec![0x30; 70_000])).contains("larger"));
}

#[test]
fn a_key_whose_halves_differ_is_refused() {
    let key = openssl(&["ecparam", "-genkey", "-noout", "-name", "prime256v1", "-outform", "DER"], b"");
    let other = openssl(&["ecparam", "-genkey", "-noout", "-name", "prime256v1", "-outform", "DER"], b"");
    // The public key stands at the end of both.
    let mixed = [&key[..key.len() - 64], &other[other.len() - 64..]].concat();
    assert!(refusal(from_der(mixed)).contains("belong together"));

    let mut rsa = openssl(&["genrsa", "-traditional", "2048"], b"");
    rsa = openssl(&["rsa", "-traditional", "-outform", "DER"], &rsa);
    // The last number is the coefficient, the first the modulus (RFC 8017 §A.1.2).
    for position in [rsa.len() - 1, 200] {
        let mut changed = rsa.clone();
        changed[position] ^= 2;
        assert!(refusal(from_der(changed)).contains("belong together"), "byte {position}");
    }
}

#[test]
fn nothing_printed_shows_the_key() {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    assert_eq!(format!("{key:?}"), "PrivateKey(ecdsa-p256, [REDACTED])");
}

#[test]
fn jws_signatures_have_the_form_and_the_name_of_the_standard() {
    let algorithms: [(_, &str, &'static dyn VerificationAlgorithm, usize); 5] = [
        (KeyAlgorithm::EcdsaP256, "ES256", &ECDSA_P256_SHA256_FIXED, 64),
        (KeyAlgorithm::EcdsaP384, "ES384", &ECDSA_P384_SHA384_FIXED, 96),
        (KeyAlgorithm::EcdsaP521, "ES512", &ECDSA_P521_SHA512_FIXED, 132),
        (KeyAlgorithm::Ed25519, "EdDSA", &ED25519, 64),
        (KeyAlgorithm::Rsa2048, "RS256", &RSA_PKCS1_2048_8192_SHA256, 256),
    ];
    for (algorithm, name, verification, length) in algorithms {
        let key = PrivateKey::generate(algorithm).unwrap();
        assert_eq!(key.jws_algorithm(), name);
        // Often enough to meet numbers that start with zeros.
        for round in 0..if algorithm.is_rsa() { 1_u16 } else { 600 } {
            let message = round.to_be_bytes();
            let signature = key.sign_jws(&message).unwrap();
            assert_eq!(signature.len(), length, "{name}");
            UnparsedPublicKey::new(verification, key.public_key_der()).verify(&message, &signature).unwrap();
        }
    }
}

/// RFC 8037, appendices A.1 to A.4.
#[test]
fn an_ed25519_key_gives_the_jwk_thumbprint_and_signature_of_the_rfc() {
    let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    // PKCS#8 around a seed (RFC 8410 §10.3).
    let prefix = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let key = from_der([&prefix[..], &seed].concat()).unwrap();
    let text = key.jwk().unwrap().to_string();
    assert_eq!(text, r#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#);
    assert_eq!(key.jwk_thumbprint().unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let signature = key.sign_jws(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc").unwrap();
    let wanted = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(URL_SAFE_NO_PAD.encode(signature), wanted);
}

/// RFC 7515, appendix A.3.1.
#[test]
fn a_p256_key_gives_the_jwk_of_the_rfc() {
    let scalar = URL_SAFE_NO_PAD.decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI").unwrap();
    // SEC 1 without the public half (RFC 5915 §3), on P-256.
    let prefix = [0x30, 0x31, 2, 1, 1, 4, 0x20];
    let suffix = [0xa0, 0x0a, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let key = from_der([&prefix[..], &scalar, &suffix].concat()).unwrap();
    let text = key.jwk().unwrap().to_string();
    let wanted = r#"{"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    assert_eq!(text, wanted);
}

#[test]
fn rsa_numbers_in_a_jwk_are_those_that_openssl_prints() {
    let key = PrivateKey::generate(KeyAlgorithm::Rsa2048).unwrap();
    let jwk = key.jwk().unwrap();
    let modulus =
        openssl_text(&["rsa", "-noout", "-modulus"], key.to_pkcs8_pem().unwrap().expose().as_bytes());
    let modulus = crate::digest::from_hex(modulus.trim().strip_prefix("Modulus=").unwrap()).unwrap();
    assert_eq!(jwk["n"], URL_SAFE_NO_PAD.encode(modulus));
    assert_eq!((&jwk["e"], &jwk["kty"]), (&"AQAB".into(), &"RSA".into()));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = PrivateKey::from_der(&SecretBytes::new(bytes.clone()));
        let _ = PublicKey::read(&bytes);
        let _ = from_pem(pem::encode("PRIVATE KEY", &bytes));
    }

    #[test]
    fn a_damaged_key_is_refused_or_still_the_same(position in 0_usize..138, flip in 1_u8..) {
        let scalar = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIffH1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt";
        let mut der = base64::engine::general_purpose::STANDARD.decode(scalar).unwrap();
        let whole = from_der(der.clone()).unwrap();
        der[position] ^= flip;
        if let Ok(damaged) = from_der(der) {
            prop_assert_eq!(damaged, whole);
        }
    }
}
