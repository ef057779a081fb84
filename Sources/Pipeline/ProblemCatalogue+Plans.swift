// Refusals by usage plans.

extension ProblemCatalogue {
  /// A caller without a plan.
  public static var planRequired: Problem {
    Problem(
      .planRequired, 403, "plan-required", "Plan required",
      "This route is for callers with a usage plan, and this caller has none.")
  }
  /// A caller whose plan is not offered here.
  public static var planUnknown: Problem {
    Problem(
      .planUnknown, 403, "plan-unknown", "Plan not known", "The usage plan of this caller does not include this route.")
  }
  /// A request that the caller's plan leaves out.
  public static var planForbids: Problem {
    Problem(
      .planForbids, 403, "plan-forbids", "Not in the plan",
      "The usage plan of this caller does not include this request.")
  }
}
