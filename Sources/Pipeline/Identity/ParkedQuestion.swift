/// A question to the store of limits beside the exchange's own, which stays decided and held: for policies that run
/// behind those that limit. It is kept by the exchange as long as the answer is on its way.
public final class ParkedQuestion {
  /// What is asked, and then how it was answered.
  public var question = LimitQuestion()

  /// A question about nothing.
  public init() {}
}
