"""What the page says of a region, of a refusal and of a stage, in words. Nothing here comes from a document."""

from __future__ import annotations

from collections.abc import Mapping

from guardedvlm.core.finding import Kind
from guardedvlm.errors import Reason

KINDS: Mapping[Kind, str] = {
    Kind.FACE: "face",
    Kind.CODE: "bar code or QR code",
    Kind.SIGNATURE: "signature",
    Kind.PERSON: "name of a person",
    Kind.ADDRESS: "address",
    Kind.DATE: "date",
    Kind.DATE_OF_BIRTH: "date of birth",
    Kind.AGE: "age",
    Kind.PHONE: "telephone or fax number",
    Kind.EMAIL: "e-mail address",
    Kind.SSN: "social security or national number",
    Kind.MEDICAL_RECORD: "medical record number",
    Kind.HEALTH_PLAN: "health plan number",
    Kind.ACCOUNT: "account number",
    Kind.IBAN: "IBAN",
    Kind.PAYMENT_CARD: "payment card number",
    Kind.ROUTING: "routing number",
    Kind.LICENSE: "licence number",
    Kind.DOCUMENT_NUMBER: "document number",
    Kind.MRZ: "machine-readable zone",
    Kind.VEHICLE: "vehicle identifier",
    Kind.DEVICE: "device identifier",
    Kind.URL: "web address",
    Kind.IP_ADDRESS: "IP address",
    Kind.OTHER_ID: "other unique code",
    Kind.ATTRIBUTE: "personal attribute",
    Kind.ORGANIZATION: "organisation",
    Kind.AMOUNT: "amount",
    Kind.UNREADABLE: "unreadable text",
    Kind.UNCLEARED: "text that nothing clears",
}

_BY_KIND: Mapping[Kind, str] = {
    Kind.UNREADABLE: "Text was found here and not read with confidence. No policy shows it.",
    Kind.UNCLEARED: "It was read, and nothing says that it is harmless. A strict policy hides it.",
}
_BY_FAMILY: Mapping[str, str] = {
    "centerface": "The face detector found it.",
    "mtcnn": "The second face detector found it when the redacted picture was verified.",
    "zxing": "The code reader found it.",
    "opencv-qr": "The second code reader found it when the redacted picture was verified.",
    "opencv-barcode": "The second code reader found it when the redacted picture was verified.",
    "form": "The label beside it, or the form, says what it is.",
    "known": "The document's header or another place told it, and it stands here again.",
    "name": "It is written as names are.",
    "presidio": "The language model for names and places found it.",
    "pattern": "Its characters have this pattern.",
    "check": "Its characters have this pattern, and the check digit is right.",
    "entropy": "It looks like a code that belongs to one person or thing.",
    "verify": "The second reader found it when the redacted picture was verified.",
    "redact": "It stands too close to something hidden to stay.",
}
ANOTHER = "A detector found it."


def why(kind: str, detector: str, action: str) -> str:
    """Why a region is hidden, and how."""
    reserved = _BY_KIND.get(Kind(kind)) if kind in Kind.__members__ else None
    if reserved is not None:
        return reserved
    found = _BY_FAMILY.get(detector.partition("/")[0], ANOTHER)
    return f"{found} The policy says hide: {action}."


def in_words(kind: str) -> str:
    """A kind's name for people."""
    return KINDS[Kind(kind)] if kind in Kind.__members__ else kind.replace("_", " ").lower()


STAGES: Mapping[str, str] = {
    "decode": "Decoding the file",
    "read": "Looking for text, personal data, faces and codes",
    "verify": "Verifying the redacted pixels with other detectors",
    "infer": "Asking the model about the redacted picture",
}

ADVICE: Mapping[Reason, str] = {
    Reason.EMPTY_INPUT: "Choose a file that has content.",
    Reason.FORMAT_UNSUPPORTED: "Use PNG, JPEG, WebP, BMP, GIF, TIFF, PDF or DICOM.",
    Reason.FORMAT_MISMATCH: "The file is not what its name says. Export it again.",
    Reason.IMAGE_CORRUPT: "Open the file in another program and save it again.",
    Reason.IMAGE_TOO_SMALL: "Use a larger scan.",
    Reason.IMAGE_TOO_LARGE: "Use fewer pixels, or raise limits.max_pixels or limits.max_side in the policy.",
    Reason.BYTES_TOO_LARGE: "Use a smaller file, or raise limits.max_bytes in the policy.",
    Reason.TOO_MANY_PAGES: "Send fewer pages, or raise limits.max_pages in the policy.",
    Reason.DOCUMENT_ENCRYPTED: "Save it without a password first.",
    Reason.NO_PIXELS: "The file has no picture in it.",
    Reason.QUESTION_EMPTY: "Write a question, or leave the field empty to see the redacted picture alone.",
    Reason.QUESTION_TOO_LONG: "Ask more briefly, or raise ask.max_chars in the policy.",
    Reason.QUESTION_LANGUAGE: "Ask in a language that the policy lists under text.languages.",
    Reason.QUESTION_FORBIDDEN: "The policy names this topic under ask.forbid. Ask about the document instead.",
    Reason.QUESTION_PERSONAL: "Leave names and numbers of people out, or set ask.personal: label in the policy.",
    Reason.FIELD_INVALID: "Load the page again.",
    Reason.UNAUTHENTICATED: "Log in again, with a token or certificate that the service knows.",
    Reason.ROLE_MISSING: "The tenants file does not give your identity the role caller, which sending pictures needs.",
    Reason.TENANT_UNKNOWN: "Ask the operator to add the tenant to the tenants file.",
    Reason.POLICY_MISSING: "The policy is gone. Choose another one.",
    Reason.POLICY_INVALID: "Mend the file; the place and the reason stand below.",
    Reason.POLICY_UNSIGNED: "Sign the policy: guardedvlm policy sign.",
    Reason.POLICY_EXPIRED: "The expert's determination has run out. The policy needs a new one.",
    Reason.POLICY_FORBIDS: "The policy gives no redacted picture out (say.redacted_image). Ask a question instead.",
    Reason.KIND_REFUSED: "The policy says refuse for a kind that is on the document (hide: {KIND: refuse}).",
    Reason.RESIDUAL_FOUND: "After three passes something was still seen that may be personal, so nothing leaves. "
    "A sharper scan or a tighter crop helps most.",
    Reason.INSTRUCTIONS_FOUND: "The policy says text.instructions: refuse, and the picture speaks to the model.",
    Reason.ANSWER_REFUSED: "The screen withheld the answer: say.forbid, say.personal or say.grounding of the policy.",
    Reason.EXTRACTION_INVALID: "What was read does not fit what was asked for.",
    Reason.DETECTOR_FAILED: "Nothing was cleared because a detector failed. Try again; else ask the operator.",
    Reason.DETECTOR_MISSING: "The operator must install it: guardedvlm doctor says which.",
    Reason.CANARY_MISSED: "The operator must look: a detector is blind. Try again in a minute.",
    Reason.WEIGHTS_CHANGED: "The operator must look: guardedvlm doctor says which.",
    Reason.SANDBOX_MISSING: "The operator must look: guardedvlm doctor says what the kernel lacks.",
    Reason.WORKER_DIED: "The part was replaced. Try again.",
    Reason.STAGE_TIMEOUT: "Try again, with a smaller picture or when the service has less to do.",
    Reason.DEADLINE_EXCEEDED: "Send fewer pages, or raise limits.max_seconds in the policy.",
    Reason.CANCELLED: "You stopped it; nothing was released.",
    Reason.INFERENCE_UNAVAILABLE: "The picture was cleared, and no model answers. Try again, or without a question.",
    Reason.INFERENCE_FAILED: "The picture was cleared, and the model failed. Try again, or without a question.",
    Reason.LEDGER_UNWRITABLE: "Without a record nothing may leave. The operator must look at the ledger's disk.",
    Reason.EVIDENCE_UNSIGNED: "Without a signed receipt nothing may leave. The operator must look at the signing keys.",
    Reason.SERVICE_UNAVAILABLE: "The guard does not answer. Try again in a moment; else ask the operator.",
    Reason.SHUTTING_DOWN: "The guard is being stopped or replaced. Try again in a moment.",
    Reason.MESSAGE_TOO_LARGE: "The playground takes files up to 32 MiB. Use guardedvlm ask for larger ones.",
    Reason.QUOTA_EXCEEDED: "Wait until other requests are over.",
    Reason.QUEUE_FULL: "Wait until other requests are over.",
    Reason.IDENTITY_UNAVAILABLE: "Log in with a certificate or a token of this service, or wait for the provider.",
    Reason.INTERNAL: "Nothing was released. If it happens again, tell the operator the time.",
}
"""What somebody can do about a refusal."""
DEFAULT_ADVICE = "Nothing was released. Ask the operator."


def advice(reason: Reason) -> str:
    """What to do about it."""
    return ADVICE.get(reason, DEFAULT_ADVICE)
