// What is wrong with passwords, and with signatures of requests.

extension ProblemCatalogue {
  /// No name and password where they are needed.
  public static var credentialsMissing: Problem {
    Problem(
      .credentialsMissing, 401, "credentials-missing", "Credentials missing",
      "This route needs a name and a password, and the request carries none.")
  }
  /// A name and a password that do not belong together, or are none.
  public static var credentialsInvalid: Problem {
    Problem(
      .credentialsInvalid, 401, "credentials-invalid", "Credentials not valid",
      "The name is not known or the password is wrong.")
  }

  /// No signature where one is needed.
  public static var signatureMissing: Problem {
    Problem(
      .signatureMissing, 401, "signature-missing", "Signature missing",
      "This route needs a signature, and the request carries none. The field Accept-Signature says what to sign.")
  }
  /// What is no signature, is of nobody who is known, or does not fit the request.
  public static var signatureInvalid: Problem {
    Problem(
      .signatureInvalid, 401, "signature-invalid", "Signature not valid",
      "No signature of this request could be verified: it is malformed, of an unknown key, or of another request.")
  }
  /// A signature that leaves something open to change.
  public static var signatureIncomplete: Problem {
    Problem(
      .signatureIncomplete, 401, "signature-incomplete", "Signature incomplete",
      "The signature does not cover all that it must. The field Accept-Signature says what to sign.")
  }
  /// A signature of another time.
  public static var signatureExpired: Problem {
    Problem(
      .signatureExpired, 401, "signature-expired", "Signature expired",
      "The signature is too old, or made for a later time. Sign the request anew, by a clock that is right.")
  }
  /// A signature that was used before.
  public static var signatureReplayed: Problem {
    Problem(
      .signatureReplayed, 401, "signature-replayed", "Signature used before",
      "A signature is good for one request. Sign each request anew, with a nonce of its own.")
  }
  /// Content that is not the one that was signed.
  public static var digestMismatch: Problem {
    Problem(
      .digestMismatch, 400, "digest-mismatch", "Digest mismatch",
      "The content of the request does not have the digest that its field Content-Digest names.")
  }
}
