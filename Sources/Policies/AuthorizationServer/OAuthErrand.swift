import Pipeline

/// What the authorization server keeps in mind of one request while it waits for the store. In ``Exchange/carried``.
final class OAuthErrand {
  /// The client that was looked up among those that operators have registered; without a client there is none.
  var lookUp: (id: String, client: OAuthClient?)?
  /// What is answered once a failure is counted.
  var answer: OAuthAnswer?
  /// Whether the client proves nothing, so that what it shows may be a guess.
  var isGuessing = false
  /// Whether the login is over that a grant followed from.
  var isLoginOver = false
  /// How far a device's request for codes is.
  var start: DeviceStart?
  /// How far a device's question is.
  var poll: DevicePoll?
  /// What a device wants, as the user's code stands for it.
  var asked: Grant?
  /// What of a device's state is to be replaced.
  var state: [UInt8]?
  /// How often that was tried.
  var tries = 0
}

extension Exchange {
  /// The errand of this request.
  var errand: OAuthErrand {
    mutating get {
      if let errand = carried as? OAuthErrand { return errand }
      let errand = OAuthErrand()
      carried = errand
      return errand
    }
  }
}
