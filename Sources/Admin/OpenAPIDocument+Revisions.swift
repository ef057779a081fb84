extension OpenAPIDocument {
  /// Revisions and what leads from one to another.
  static let revisions = #"""
    "Configuration":{"type":"object","required":["revision","digest","author","message","time","newest","text"],
    "properties":{"revision":{"type":"integer","minimum":1},"newest":{"type":"integer","minimum":1},
    "text":{"type":"string"}}},
    "ConfigurationInput":{"type":"object","required":["text"],"properties":{"text":{"type":"string"},
    "values":{"type":"array","items":{"type":"object","required":["value"],"properties":{"env":{"type":"string"},
    "file":{"type":"string"},"value":{"type":"string"}},"oneOf":[{"required":["env"]},{"required":["file"]}]}}}},
    "RevisionEntry":{"type":"object",
    "required":["revision","digest","cause","author","message","time","epoch","base","origin","stage","holdMilliseconds"],
    "properties":{"revision":{"type":"integer","minimum":1},"digest":{"type":"string","pattern":"^[0-9a-f]{64}$"},
    "cause":{"enum":["seeded","applied","rolled back","promoted","reverted","restored","resealed"]},"author":{"type":"string"},
    "message":{"type":"string"},"time":{"type":"string","format":"date-time"},"epoch":{"type":"integer","minimum":0},
    "base":{"type":"integer","minimum":0},"origin":{"type":"integer","minimum":0},
    "stage":{"type":"array","items":{"type":"string"}},"holdMilliseconds":{"type":"integer","minimum":0}}},
    "Revisions":{"type":"object","additionalProperties":false,"required":["revisions"],"properties":{"revisions":
    {"type":"array","items":{"$ref":"#/components/schemas/RevisionEntry"}}}},
    "Revision":{"allOf":[{"$ref":"#/components/schemas/RevisionEntry"},{"type":"object",
    "required":["newest","complete","nodes"],"properties":{"newest":{"type":"boolean"},"complete":{"type":"boolean"},
    "nodes":{"type":"array","items":{"type":"object","required":["node","state","milliseconds","reason"],
    "properties":{"node":{"type":"string"},"state":{"enum":["waiting","active","staged","refused"]},
    "milliseconds":{"type":"integer","minimum":0},"reason":{"type":"string"}}}}}}]},
    "Plan":{"type":"object","required":["changes","consequences"],"properties":{
    "changes":{"type":"array","items":{"type":"object","required":["object","name","change","options"],"properties":{
    "object":{"enum":["route","policy","upstream","consumer","tenant"]},"name":{"type":"string"},
    "change":{"enum":["added","removed","changed"]},"options":{"type":"array","items":{"type":"object",
    "required":["path","old","new","secret"],"properties":{"path":{"type":"string"},"old":{"type":["string","null"]},
    "new":{"type":["string","null"]},"secret":{"type":"boolean"}}}}}}},
    "consequences":{"type":"array","items":{"type":"object","required":["code","subject","message","serious"],
    "properties":{"code":{"type":"string"},"subject":{"type":"string"},"message":{"type":"string"},
    "serious":{"type":"boolean"}}}},"survey":{"type":"object","additionalProperties":false,
    "required":["consumers","of","over"],"properties":{"consumers":{"type":"integer","minimum":0},
    "of":{"type":"integer","minimum":0},"over":{"type":"integer","minimum":0}}}}},
    "Applied":{"type":"object","properties":{"revision":{"type":"integer","minimum":0},"changed":{"type":"boolean"},
    "proposal":{"type":"string"},"changes":{"type":"array"},"consequences":{"type":"array"}}},
    "ConfigurationProblem":{"allOf":[{"$ref":"#/components/schemas/Problem"},{"type":"object","properties":{
    "diagnostics":{"type":"array","items":{"type":"object","required":["severity","line","column","path","message","fix"],
    "properties":{"severity":{"enum":["error","warning"]},"line":{"type":"integer","minimum":0},
    "column":{"type":"integer","minimum":0},"path":{"type":"string"},"message":{"type":"string"},
    "fix":{"type":"string"}}}}}}]}
    """#
}
