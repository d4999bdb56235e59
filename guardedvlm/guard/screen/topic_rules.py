"""The rules of `topics`: one a line, words in lower case, FRAGMENTS in capitals; everything else is a regular expression.

A rule matches folded text from the start of a word to the end of a word. FRAGMENTS are defined once, below, in terms of
earlier ones. Repetitions are bounded, so that a rule takes time linear in the text.
"""

# ruff: noqa: E501 -- one rule a line

from __future__ import annotations

from collections.abc import Mapping

from guardedvlm.policy.model import Topic

PERSON_TOKEN = "namedperson"  # noqa: S105 -- no credential: what a label of a person becomes in the folded text

FRAGMENTS: Mapping[str, str] = {
    # people
    "SOMEBODY": (
        "person|persons|people|man|men|woman|women|guy|guys|girl|boy|lady|gentleman|child|children|kid|baby|teenager|"
        f"individual|individuals|human|celebrity|actor|actress|politician|stranger|suspect|sitter|face|faces|{PERSON_TOKEN}"
    ),
    # roles that a document gives: fields speak of them too ("the patient's name")
    "ROLE": "patient|customer|driver|employee|applicant|cardholder|claimant|holder|subject",
    "THE": "the|this|that|these|those|a|an|any|each|either|another|both|my|our",
    "FILL2": "([a-z0-9]+ ){0,2}?",
    "FILL3": "([a-z0-9]+ ){0,3}?",
    "WHERE": "( (in|on|at|from|of|with|wearing)( [a-z0-9]+){1,4}?)?",
    "SELF": f"he|she|they|you|{PERSON_TOKEN}",
    "WHO": "(SELF|THE FILL2(SOMEBODY|ROLE)(?! poss| number| id| record| account| name| form)WHERE)",
    "WHOM": f"(him|her|them|{PERSON_TOKEN}|THE FILL2(SOMEBODY|ROLE)(?! poss| number| id| record| account| form))",
    "WHOSE": f"(his|her|their|{PERSON_TOKEN} poss|THE FILL2(SOMEBODY|ROLE)WHERE poss)",
    "NOT_OF_PERSON": "(of (the|this|a|my) (check|cheque|clock|watch|card|coin|note|document|bill|form)|value|amount)",
    "LOOKED": (
        f"(him|her|them|{PERSON_TOKEN}|THE FILL3(SOMEBODY|subject)(?! poss| number| id| record| account| NOT_OF_PERSON))"
    ),
    "PICTURE": (
        "picture|pictures|photo|photos|photograph|image|images|portrait|snapshot|selfie|headshot|mugshot|screenshot|scan|"
        "x ray|id|id card|identity card|card|passport|badge|licence|license|permit|foreground|background|left|right|"
        "middle|centre|center|front"
    ),
    # verbs
    "BE": "(is|are|was|were|be|am|looks?|appears?|seems?|might be|may be|could be|must be)",
    "HEDGE": (
        "( (to be|like|likely|probably|possibly|clearly|most|about|around|roughly|really|actually|a|an|of|maybe|very|"
        "quite|not|also|approximately|perhaps|still)){0,4}"
    ),
    "TELL": "(tell me|say|know|guess|find out|determine|explain|figure out|state|reveal|show)",
    # what is said of people
    "PEOPLES": (
        "(black|white|asian|caucasian|hispanic|latino|latina|african|african american|arab|jewish|indian|chinese|japanese|"
        "korean|mexican|european|middle eastern|native american|pakistani|turkish|russian|roma|slavic|biracial|mixed race|"
        "dark skinned|light skinned|american|german|french|italian|polish)"
    ),
    "FAITHFUL": (
        "(muslim|christian|jewish|jew|hindu|buddhist|catholic|protestant|sikh|atheist|mormon|evangelical|religious|devout)s?"
    ),
    "ILL": (
        "(ill|sick|unwell|healthy|diabetic|pregnant|depressed|disabled|addicted|anorexic|obese|overweight|autistic|dying|"
        "hiv positive|alcoholic|mentally ill|suffering|schizophrenic|bipolar|epileptic|blind|deaf|demented)"
    ),
    "DISEASE": (
        "(a stroke|a heart attack|cancer|hiv|aids|diabetes|dementia|alzheimer|tuberculosis|covid|hepatitis|asthma|epilepsy|depression|autism|"
        "schizophrenia|(a|an|any) ([a-z]+ )?(tumou?r|disease|disorder|illness|disability|condition|infection))"
    ),
    "ORIENTED": "(gay|lesbian|bisexual|homosexual|heterosexual|queer|straight|asexual|transgender)",
    "HANDSOME": (
        "(attractive|beautiful|handsome|ugly|pretty|cute|bald|bearded|smiling|frowning|crying|fat|thin|skinny|slim|tall|"
        "blond|blonde|brunette|freckled|clean shaven|wearing ([a-z]+ )?(glasses|makeup|lipstick|earrings))"
    ),
    "FEATURE": (
        "(face|facial features|facial expression|appearance|looks|eyes?|eye colou?r|hair|hair colou?r|hairstyle|nose|mouth|"
        "lips|chin|cheeks?|jaw|eyebrows|beard|moustache|mustache|complexion|smile|scars?|tattoos?)"
    ),
    "YEARS": "(teens|twenties|thirties|forties|fifties|sixties|seventies|eighties|nineties|[1-9]0s)",
    # what covers a hidden value, and what people do to get behind it
    "COVERED": (
        "(hidden|redacted|blacked out|blackened|masked|covered|covered up|obscured|censored|concealed|blurred|anonymi[sz]ed|"
        "painted over|crossed out|gr[ea]yed out|pixelated)"
    ),
    "COVER": (
        "((black|dark|white|gr[ea]y|solid|opaque|redaction|privacy|censor|filled) "
        "(box|boxes|bar|bars|rectangle|rectangles|squares?|blocks?|patch|patches|areas?|stripes?|mask|masks|ink)|"
        "redactions?|masks?|masking|blur)"
    ),
    "CONTENT": (
        "(text|names?|words?|numbers?|digits|values?|parts?|areas?|fields?|information|info|contents?|data|letters|faces?|"
        "sections?|lines?|details|address|person|portion|bits?|ones?)"
    ),
    "PRY": "(guess|infer|deduce|reconstruct|recover|restore|unmask|decode|decipher|predict|speculate)",
    "GET": (
        "(PRY|uncover|reveal|expose|read|tell me|show|show me|extract|transcribe|estimate|fill in|complete|give me|list|"
        "what is|what are|what was|what were|what does|what do|describe|translate|print|output|figure out|work out|make out)"
    ),
}

RULES: Mapping[Topic, str] = {
    Topic.IDENTIFY_PERSON: """
who( exactly)? BE( actually| really)? (that|these|those|it|he|she|they|you)
who( exactly)? BE( actually| really)? this(?! (invoice|bill|form|document|letter|check|cheque|receipt|statement|addressed|from|for|to|made|payable|signed|issued|report))
who BE THE FILL3(SOMEBODY)(?! poss)
who BE (SOMEBODY)
who BE THE FILL2(ROLE) (in|on) (THE )?(PICTURE)
who (BE |can be |do you |can you |could you )?([a-z]+ )?(seen?|shown|pictured|depicted|portrayed|photographed|visible|standing|sitting|posing|smiling|recogni[sz]ed?|appears?|identify)
who (BE|appears|do you see|can you see|else is) (in|on|at) (THE )?([a-z]+ )?(PICTURE)(?! list)
who (do|does|might|could|would|can|must|may) (you think )?(this|that|it|he|she|they|the ([a-z]+ )?(SOMEBODY)WHERE) (is|be|look|looks|resemble|resembles|remind|have been|appear)
(identify|recogni[sz]e|name|identification of|recognition of|unmask|doxx?) LOOKED
(identify|recogni[sz]e|name) (THE )?(everyone|everybody|people|faces|persons|individuals|who)
(identify|recogni[sz]e) THE ([a-z]+ )?(ROLE)(?! poss| [a-z]+ (number|id|name))
TELL( me)? who (WHO|this|that|it|is (in|on|shown))
(names?|identity|identities) of (him|her|them|THE FILL2(SOMEBODY)(?! poss))
(TELL|what|give me)( is| are| was)? (his|her|their) (real |full |first |last |actual )?(names?|identity|identities)
what BE THE ([a-z]+ )?(SOMEBODY) (poss ([a-z]+ )?(name|identity)|called|named)
what BE (he|she|they) (called|named)
(he|she|the (person|man|woman)) is (called|named)
whose ([a-z]+ )?(face|faces|portrait|photo|photograph|picture|image|headshot|selfie|mugshot|head|eyes)
(is|are|was|could|might|would) (not )?(this|that|it|he|she|they|the ([a-z]+ )?(SOMEBODY)WHERE)( be| really| not| actually)? PERSON_TOKEN
(this|that|it|he|she|the (SOMEBODY)WHERE) (is|looks like|resembles|must be|could be|might be)HEDGE PERSON_TOKEN
BE (WHO|this|that|it)HEDGE (famous|celebrity|well known|public figure|politician|actor|actress|singer)
WHO BEHEDGE (famous|celebrity|well known|public figure|politician|actor|actress|singer)
(do|can|could|would) you (know|recogni[sz]e|identify) LOOKED
look ?alikes?|doppelg[a-z]+|reverse image search|(facial|face) (recognition|match|matching|search)
(match|compare|search|look up|run) ([a-z]+ ){0,3}?faces?(?! value| amount)
same (person|man|woman|individual|face) (as|in|on)
(find|look up|search for|google|track down|stalk) (WHOM|THE (SOMEBODY))
(who|(which|what) (celebrity|actor|actress|politician|star)) (does|do) WHO (look like|resemble)
who (he|she|they|this|that|it|WHO) (is|are|might be|could be)
who (am i|are we) (looking at|seeing)|put a name (to|on)|(to )?whom (does|do|is|are) (this|that|the) ([a-z]+ )?(face|portrait|photo|picture)
BE WHO (someone|somebody) (i|you|we|people)
wer (ist|sind|war) (das|er|sie|hier|zu sehen|abgebildet|(auf|in|die|der|diese[rs]?) ([a-z]+ )?(bild|foto|person|mann|frau|leute))
(identifiziere|erkenne|benenne|erkennst du|kennst du) (die|den|das|diese[ns]?) ([a-z]+ )?(person|mann|frau|gesicht|leute)
wie heisst (die|der|diese|dieser|er|sie)( [a-z]+)? ?(person|mann|frau|junge)?
qui (est|sont) (il|elle|(cette|cet|ce|ces|la|l|sur|dans) ([a-z]+ ){0,2}?(personne|homme|femme|photo|image|gens|individu))
(identifie[rz]?|reconnais|reconnaissez) (la|le|l|cette|cet|ce) (personne|homme|femme|visage|individu)
comment s appelle (il|elle|(cette|cet|l|la) (personne|homme|femme|dame))|comment s appelle t (il|elle)
quien(es)? (es|son|sale|aparece) (ella|el|(esta|este|esa|ese|la|el|en) ([a-z]+ ){0,2}?(persona|hombre|mujer|foto|imagen|chica|chico))
identifi(ca|que|car) (a )?(la|el|al|esta|este) (persona|hombre|mujer|rostro|cara)
como se llama (ella|(esta|este|el|la) (persona|hombre|mujer|senora?|chic[ao]))
""",
    Topic.DESCRIBE_FACE: """
(describe|description of|draw|sketch|depict)( me)? ((WHOSE|the|this|that|any|all) )?([a-z]+ ){0,2}?(faces?|facial features|physical appearance)(?! NOT_OF_PERSON)
(describe|description of|characteri[sz]e) LOOKED
describe WHOSE ([a-z]+ )?FEATURE
what (do|does|did) WHO (really )?look like
how (do|does|did) WHO look
what WHO (looks?|looked) like
(what|which)( kind of| type of)? FEATURE (does|do|did|has|have|is) WHO
(what|how|is|are|tell me|guess|colou?r of|shape of|see) ([a-z]+ ){0,2}?WHOSE ([a-z]+ )?FEATURE
(eye|hair|skin) colou?r (of|does|has) (him|her|the ([a-z]+ )?(SOMEBODY|patient))
BE WHOHEDGE HANDSOME
WHO BEHEDGE HANDSOME
(does|do|did) WHO (have|wear)( a| an| any)? ([a-z]+ )?(beard|moustache|mustache|glasses|scars?|tattoos?|freckles|wrinkles|makeup|facial hair|birthmark)
WHO (has|have|with)( a| an)? ([a-z]+ ){1,3}?(eyes|hair|nose|beard|skin|complexion)
facial (features|expression|hair|structure|characteristics)|physical (description|appearance) of WHOM
(scars?|tattoos?|freckles|wrinkles|birthmarks?|moles?|piercings?) on (the|his|her|their) (face|skin|body|arm|neck|head|chin)
beschreib[a-z]* (das|sein|ihr|die|den|diese[ns]?) ([a-z]+ )?(gesicht|aussehen|person|mann|frau)
wie sieht (er|sie|(die|der|diese[r]?) (person|mann|frau)) aus
(decris|decrire|decrivez) (le|son|la|cette|cet|l) (visage|apparence|personne|homme|femme)
(describe|describa|describir) (el|su|la|esta|este|al) (rostro|cara|apariencia|persona|hombre|mujer)
""",
    Topic.ETHNICITY: """
ethnicit(y|ies)|ethnic (group|origin|background|heritage|appearance)|racial|skin (tone|colou?r)
(what|which) race ((BE|does|do|would) )?WHO
(race|nationality|ancestry|descent|heritage|origins?|complexion) of WHOM
WHOSE ([a-z]+ )?(race|nationality|ancestry|heritage|origins?|skin|home country)
BE WHOHEDGE PEOPLES(?! (ink|box|and white|bar|boxes|pen|express|dollars?))
WHO BEHEDGE PEOPLES(?! (ink|box|and white|bar|boxes|pen|express|dollars?))
(a|an|the|two|three|this|that) ([a-z]+ )?PEOPLES (SOMEBODY|male|female|patient)
(where|(what|which) (country|continent|part of the world)) (is|are|was|were|does|do) WHO (come )?(originally )?from
(what|which) (nationality|descent|ancestry) (is|are|does|do|was|has) WHO
(of|from) (african|asian|european|arab|indian|latin american|middle eastern|jewish|chinese) (descent|origin|ancestry|heritage)
(does|do) WHO look PEOPLES
where WHO (comes?|came|is|are|originates?) (originally )?from
BE WHO (originally )?from (africa|asia|europe|china|india|mexico|japan|korea|russia|turkey|the middle east|latin america)
ethnische[a-z]*|hautfarbe|herkunft (der|des|dieser) (person|mannes|frau)
origine ethnique|ethnie|couleur de peau
origen etnico|etnia|color de (la )?piel|raza de (la|esta|el|este)
""",
    Topic.RELIGION: """
religion|religious (beliefs?|affiliation|background|views|group|denomination|faith|garment|symbol)
BE WHOHEDGE FAITHFUL
WHO BEHEDGE FAITHFUL(?! (hospital|school|church|brothers))
(a|an|this|that|the) ([a-z]+ )?FAITHFUL (SOMEBODY|patient|believer)
WHOSE ([a-z]+ )?(faith|beliefs|church|denomination)
(what|which) (faith|church|denomination|god) (is|are|does|do|has|did) WHO
(does|do|did) WHO (believe in|pray|worship|go to (church|mosque|temple))
faith of WHOM
konfession|religionszugehorigkeit|glaube (der|des|dieser) (person|mannes|frau)
ist (er|sie|die person|der mann|die frau|diese person) (muslim[a-z]*|christ[a-z]*|jud[a-z]*|katholisch|evangelisch)
(est il|est elle|il est|elle est|cette personne est) (musulman[a-z]*|chretien[a-z]*|jui[a-z]*|catholique)
confession religieuse|creencias? religiosas?
es (el|ella|esta persona|este hombre|esta mujer) (musulman[a-z]*|cristian[a-z]*|judi[a-z]*|catolic[a-z]*)
""",
    Topic.HEALTH: """
BE WHOHEDGE ILL
WHO BEHEDGE ILL
(does|do|did|could|might|may|would|has|have|had) WHO (have|had|suffer from|suffered|ever had) ([a-z]+ )?DISEASE
WHO (has|have|had|suffers? from|might have|may have|probably has|likely has) ([a-z]+ )?DISEASE
(what|which) ([a-z]+ )?(disease|illness|condition|disorder|diagnosis|disability|medication|drugs)s? (is|are|does|do|has|did|might|could) WHO
(what is wrong with|diagnose|diagnosis (of|for)|prognosis (of|for)|health of|medical history of) WHOM
WHOSE ([a-z]+ )?(health|illness|disease|diagnos[ie]s|medications?|(medical )?(condition|history)|disorder|disability|prognosis)
ist (er|sie|die person|der patient|die patientin) (krank|schwanger|gesund|behindert|depressiv)
(est il|est elle|il est|elle est) (malade|enceinte|handicape[a-z]*|deprime[a-z]*)
(esta) (el|ella|esta persona|el paciente|la paciente) (enferm[a-z]*|embarazada|discapacitad[a-z]*)
""",
    Topic.SEXUAL_ORIENTATION: """
sexual (orientation|preference|identity)|sexuality|gender identity|sex life
BE WHOHEDGE ORIENTED
WHO BEHEDGE ORIENTED(?! (ahead|line|to|from|up|into))
(does|do) WHO (look|seem|appear|sound)( to be)? ORIENTED
(a|an|this|that|the) ORIENTED (SOMEBODY|couple)
(does|do|is|are) WHO (like|date|attracted to|into|prefer|love) (men|women|boys|girls|guys|both)
WHO (likes|dates|is attracted to|prefers|loves) (men|women|boys|girls|guys|both)
(gay|same sex|lesbian) couple
sexuelle (orientierung|identitat|neigung)|orientation sexuelle|orientacion sexual
(ist (er|sie|die person)|est il|est elle|il est|elle est) (schwul|lesbisch|homosexu[a-z]*|bisexu[a-z]*|gay|lesbienne)
""",
    Topic.AGE: """
how (old|young|aged) (BE|do|does|did|would|could|might) (you (think|say) )?WHO
years old BE WHO
how (old|young) (BE )?(you (think|say) )?(WHO|this one|(do|would) you (think|say) (WHO|this|it))
(?<!date of )WHOSE ([a-z]+ ){0,2}?(ages?|birthday|year of birth|age group)
(ages?|birthday)( range| group| bracket)? of WHOM
(what|which) (age|generation)( group| range| bracket)? (is|are|was|does|do|would|might|has) WHO
(guess|estimate|estimated|approximate|apparent|predict) ((the|an|a|his|her|their) )?([a-z]+ )?ages?(?! of (the|this|my|an|a) ([a-z]+ )?(account|invoice|debt|receivables?|document|building|loan|policy|company))
((when|what year|which year) )?BE WHO born
BE WHOHEDGE (minor|adult|elderly|teenager|underage|senior|child|old|young|middle aged|((over|under|above|below|older than|younger than|at least) )?(the age of )?[0-9]+( years)?( old)?)(?! (invoice|cents|dollars|percent|of))
WHO BEHEDGE (minor|adult|elderly|teenager|underage|middle aged|(over|under|older than|younger than) [0-9]+|[0-9]+ years)
in (his|her|their) (early |mid |late )?YEARS
[0-9]+ years? old ([a-z]+ )?(SOMEBODY|male|female|patient)
wie alt (ist|sind|war|sieht|schatzt) (er|sie|(die|der|das|diese[rs]?) ([a-z]+ )?(person|mann|frau|kind|madchen|junge|patient|patientin))
quel age (a|ont|avait|donne[a-z]*) ?(il|elle|t il|t elle|(cette|cet|la|l) (personne|homme|femme))?|quel est son age
(que edad|cuantos anos) (tiene|tendra|aparenta)
""",
    Topic.REVEAL_HIDDEN: """
(under|underneath|behind|beneath|below|inside|within) ((the|this|that|these|those|each|all|any|a|every) )?([a-z]+ )?COVER
(what|who|which [a-z]+) ([a-z]+ ){0,3}?(is|are|was|were|lies) (actually |really )?(COVERED|hiding)
GET( me)?( out)?( what)? ([a-z]+ ){0,4}?COVERED CONTENT
(what|which|who) (do|does|did|is|are|was|were|would|could) (THE )?COVERED (boxes|box|CONTENT|bars?|rectangles?|labels?) (contain|say|hide|show|mean|read|conceal|have)
(PRY|uncover|reveal|extract|read) (THE )?(removed|deleted|missing|original) CONTENT
(what|which|name|value|text|original|number)( [a-z]+)? PERSON_TOKEN (replaces?|replaced|hides?|covers?|stands? for)
GET( me)? ([a-z]+ ){0,3}?CONTENT ([a-z]+ ){0,2}?(that |which )?(is|are|was|were|has been|have been|got) COVERED
PRY ([a-z]+ ){0,3}?(names?|identity|ssn|social security|account number|card number|address|birth ?date|date of birth|phone number|original|hidden|PERSON_TOKEN)
(unredact|un redact|deredact|unblur|un blur|deblur|uncensor|unmask|deanonymi[sz]e|de anonymi[sz]e|reidentify|re identify)[a-z]*
(remove|undo|ignore|bypass|disable|lift|reverse|strip|erase|circumvent|skip|turn off) ([a-z]+ ){0,2}?(redactions?|redacting|masks?|masking|censor|censorship|censoring|black (box|boxes|bars?|rectangles?)|blur|privacy (filter|guard|rules?)|anonymi[sz]ation)
(real|true|actual|original|full) (names?|identity|text|value|number|data|content)( that)?( is| was)? (behind|of|under|beneath|replaced|for) (the )?(PERSON_TOKEN|label|mask|redact[a-z]*|black|hidden|placeholder)
who (is|was) (really )?PERSON_TOKEN|what (does|did) PERSON_TOKEN (stand for|replaced?|hide|mean)
(behind|beneath|underneath) (the|this|that|these|those) ([a-z]+ )?(rectangles?|bars?|blocks?|box|boxes|labels?|placeholders?)
PERSON_TOKEN poss (real|true|actual|original|full|legal) name
(text|image|picture|original|version|document|words|names?) (without|before) ([a-z]+ ){0,2}?(redactions?|redacting|masking|masks?|blur|black (box|boxes|bars?))
what ((is|was) )?(the|this|that|these|each) (labels?|placeholders?|box|boxes|PERSON_TOKEN) (replaces?|replaced|hides?|hid|covers?|covered|stands? for)
(see|look|read) (through|past) the (redactions?|COVER|label|labels)
(unter|hinter) (dem|den|der|diesem) (schwarzen |geschwarzten |weissen )?(balken|kasten|feld|flache|rechteck|schwarzung)
(errate|rate|rekonstruiere|entschlussel[a-z]*|was ist) ((den|die|das) )?(geschwarzt[a-z]*|verdeckt[a-z]*|verborgen[a-z]*|versteckt[a-z]*|namen)
(sous|derriere) (le|la|les|ce|cette) (rectangle|barre|bande|carre|masque|zone|case)s?( noire?s?)?
(devine[a-z]*|reconstitue[a-z]*|revele[a-z]*|lis|lire) (le|la|les) ([a-z]+ )?(nom|masque[a-z]*|cache[a-z]*|caviarde[a-z]*|noirci[a-z]*)
(debajo|detras) (del|de la|de los|de las) (rectangulo|barra|cuadro|recuadro|caja|mascara)s?( negr[a-z]+)?
(adivina[a-z]*|reconstruye[a-z]*|revela[a-z]*|lee) (el|la|los|las) ([a-z]+ )?(nombre|ocult[a-z]*|tachad[a-z]*|tapad[a-z]*|censurad[a-z]*)
""",
}
