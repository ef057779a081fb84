import Pipeline

extension FetchOutcome {
  /// An answer with this body.
  static func answer(_ body: String, status: UInt16 = 200) -> FetchOutcome {
    .answered(status: status, fields: [FetchField("content-type", "application/json")], body: Array(body.utf8))
  }

  /// A token endpoint gives out a token that is good for an hour.
  static func token(_ text: String, seconds: Int = 3_600) -> FetchOutcome {
    answer("{\"access_token\":\"\(text)\",\"token_type\":\"Bearer\",\"expires_in\":\(seconds)}")
  }
}

extension Verdict {
  /// `next`, `wait`, or the status and code of a refusal.
  var text: String {
    switch self {
    case .next: "next"
    case .wait: "wait"
    case .reply: "reply"
    case .gather: "gather"
    case .refuse(let refusal): "\(refusal.status) \(refusal.code)"
    }
  }
}
