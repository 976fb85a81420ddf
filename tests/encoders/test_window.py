"""Languages: other ones than the encoder's are noticed, English of any field is not."""

from __future__ import annotations

import pytest

from irr.encoders.sentence_transformers import open_window

ENGLISH = {
    "skills": "manage musical staff; supervise correctional procedures; apply anti-oppressive practices; "
    "control compliance of railway vehicles regulations; identify available services; toxicology",
    "attacks": "Data Obfuscation; Junk Data; Steganography; Rootkit; DLL Side-Loading; Process Hollowing; "
    "Spearphishing Attachment; LSASS Memory; Kerberoasting; Bootkit; Keylogging; Masquerading",
    "diseases": "Typhoid fever, unspecified; Benign neoplasm of right retina; African trypanosomiasis; "
    "Osteitis deformans in neoplastic diseases; Perifolliculitis capitis abscedens; Acute bronchitis; "
    "Diseases of the respiratory system complicating childbirth; Fracture of the lower end of the femur; "
    "Burn of the second degree of the forearm; Poisoning by other drugs; Malignant neoplasm of the stomach",
    "subjects": "Heat-resistant plastic; Mesitylene; Calculation; Hydromagnesite; Ada program; "
    "Double galaxy; Stiefel manifold; Flow around bodies; History of science; Java server pages",
    "requests": "does spago take reservations; how do i change my password; what is my credit limit; "
    "tell me when my flight leaves; set a timer for ten minutes; order more checks please",
    "text": "We describe the case of a 37-year-old man with a previous active life who complained of pain in "
    "several joints, and of fever in the last week, with peaks in the morning and evening.",
}
OTHERS = {
    "German": "Brot backen; Wäsche waschen; Menüs planen; Küchenpersonal anleiten; Kunden beraten; "
    "Lebensmittel bestellen; Rechnungen prüfen; Maschinen warten; Öffentliche Verwaltung; Umweltschutz; "
    "Arbeitsmarktpolitik; Krankenpflege; Steuerrecht; Wir suchen eine Fachkraft, die Brote und Kuchen backt "
    "und das Team anleitet.; Die Studie untersucht die Auswirkungen des Klimawandels auf die Landwirtschaft.",
    "French": "faire du pain; laver la vaisselle; planifier les menus; conseiller les clients; "
    "vérifier les factures; développement logiciel; administration publique; soins infirmiers; droit fiscal; "
    "Nous recherchons un boulanger capable de préparer le pain et de gérer une petite équipe.; "
    "L'étude analyse les effets du changement climatique sur l'agriculture.",
    "Spanish": "hornear pan; lavar los platos; planificar menús; supervisar al personal de cocina; "
    "asesorar a clientes; revisar facturas; mantenimiento de máquinas; política de empleo; derecho fiscal; "
    "Buscamos un panadero que prepare el pan y dirija el equipo.; El estudio analiza los efectos del cambio "
    "climático en la agricultura de los países del sur.",
    "Italian": "cuocere il pane; lavare i piatti; pianificare i menu; gestire il personale di cucina; "
    "ordinare forniture; diritto tributario; tutela dell'ambiente; politica del lavoro; controllare fatture; "
    "Cerchiamo un panettiere che prepari il pane e guidi la squadra.; Lo studio analizza gli effetti del "
    "cambiamento climatico sull'agricoltura dei paesi del sud.",
    "Polish": "pieczenie chleba; zmywanie naczyń; planowanie menu; prawo podatkowe; ochrona środowiska; "
    "polityka zatrudnienia; obsługa klienta; konserwacja maszyn; zarządzanie personelem kuchni; "
    "Szukamy piekarza, który przygotuje chleb i poprowadzi niewielki zespół.; Badanie analizuje skutki "
    "zmiany klimatu dla rolnictwa w krajach południa Europy.; usługi publiczne; szkolenie pracowników",
    "Russian": "выпечка хлеба; мытьё посуды; налоговое право; охрана окружающей среды; разработка программ; "
    "обслуживание клиентов; ремонт машин; государственное управление; уход за больными; учёт товаров; "
    "Мы ищем пекаря, который готовит хлеб и руководит небольшой группой.; Исследование рассматривает "
    "последствия изменения климата для сельского хозяйства южных стран.",
}


def note(names: str) -> str:
    window = open_window()
    assert window
    return window.language_note("labels", names.split("; "))


@pytest.mark.parametrize("kind", ENGLISH)
def test_english_of_any_field_is_no_reason_for_a_note(kind: str) -> None:
    assert note(ENGLISH[kind]) == ""


@pytest.mark.parametrize("kind", OTHERS)
def test_another_language_is_noted_with_an_encoder_to_name(kind: str) -> None:
    assert "such as intfloat/multilingual-e5-small" in note(OTHERS[kind])


@pytest.mark.parametrize(
    "text", ["Sie werden Brot und Kuchen backen", "Pflegekräfte betreuen Patienten im Krankenhaus"]
)
def test_one_sentence_of_another_language_is_enough(text: str) -> None:
    assert "do not look like English" in note(text)


@pytest.mark.parametrize(
    "text", ["You will bake bread and cakes", "Kubernetes, TypeScript, PostgreSQL and Go"]
)
def test_one_sentence_of_english_is_no_reason_for_a_note(text: str) -> None:
    assert note(text) == ""


def test_a_few_words_say_nothing() -> None:
    assert note("Brot; Wäsche") == ""
